# promptseg in a container. Research use only: not a medical device.
#
#   docker build --target cpu  -t promptseg:cpu  .
#   docker build --target cuda -t promptseg:cuda .      (the host needs NVIDIA's driver and container toolkit)
#
#   docker run -p 127.0.0.1:7860:7860 -v promptseg-models:/models -v promptseg-data:/data promptseg:cpu
#   docker run --no-healthcheck -v promptseg-models:/models -v "$PWD:/work" -w /work promptseg:cpu \
#       batch scans -o out --job wholebody --fast --resume
#
# Weights lie on the volume /models and are never part of the image.

FROM python:3.11-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PROMPTSEG_MODELS=/models \
    PROMPTSEG_CACHE=/models/cache
RUN useradd --uid 10001 --user-group --create-home promptseg && \
    mkdir -p /models /data && \
    chown promptseg:promptseg /models /data
WORKDIR /opt/promptseg
COPY pyproject.toml constraints.txt MANIFEST.in README.md LICENSE ./
COPY packaging ./packaging
COPY app ./app
COPY models ./models
COPY promptseg ./promptseg

# GPU: PyPI's torch brings CUDA's libraries along, so the slim base image is enough. ONNX Runtime's CPU and GPU wheels
# share one module folder: the CPU one has to go first.
FROM base AS cuda
RUN pip install --constraint constraints.txt ".[sam,app,postgresql,wholebody,cluster,parquet]" && \
    pip uninstall --yes onnxruntime && \
    pip install "onnxruntime-gpu>=1.20"
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
VOLUME ["/models", "/data"]
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/api/v1/health', timeout=4)"]
ENTRYPOINT ["promptseg"]
CMD ["serve", "--host", "0.0.0.0", "--auth", "password", "--data", "/data"]

# CPU, the default target. torch's builds without CUDA (gigabytes less) come from its own index.
FROM base AS cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --constraint constraints.txt --index-url "${TORCH_INDEX}" torch torchvision && \
    pip install --constraint constraints.txt ".[sam,app,postgresql,wholebody,cluster,parquet]"
USER 10001
VOLUME ["/models", "/data"]
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/api/v1/health', timeout=4)"]
ENTRYPOINT ["promptseg"]
CMD ["serve", "--host", "0.0.0.0", "--auth", "password", "--data", "/data"]
