#!/usr/bin/env bash
# What the model manager does on a GPU, in one run of at most eight minutes: throughput and parity of the SAM family on
# torch and ONNX Runtime, and the card's memory. Needs a CUDA build of torch, this project and segment-anything; parts
# whose packages are missing say so. Without a GPU it ends at once.
#
#     bash benchmarks/gpu.sh [cuda:0] | tee gpu.txt
set -u
device=${1:-cuda:0}
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
"$python" - "$device" <<'PYTHON' || exit 1
import sys
import torch
index = int(sys.argv[1].partition(":")[2] or 0)
if index >= torch.cuda.device_count():
    sys.exit(f"expected a GPU at {sys.argv[1]}, and torch {torch.__version__} sees {torch.cuda.device_count()}")
print(f"# {torch.cuda.get_device_name(index)}, torch {torch.__version__}, CUDA {torch.version.cuda}")
PYTHON
"$python" benchmarks/encode_host_time.py
for arch in vit_b vit_t; do
  echo "# $arch"
  timeout 200 "$python" benchmarks/models_speed.py --arch "$arch" --device "$device" --rounds 1 --repeats 5
done
echo "# made on the GPU, to the bit of Pillow"
"$python" - "$device" <<'PYTHON'
import sys
import numpy as np
import torch
from promptseg.models.families.sam.frames import KINDS, prepare
from promptseg.models.families.sam.planes import inputs
from promptseg.models.families.sam.planes_on_torch import made_on
slices = [np.random.default_rng(i).random((517, 611)).astype(np.float32) for i in range(4)]
for kind in KINDS:
    batch = [prepare(kind, pixels, 1024)[0] for pixels in slices]
    print(f"{kind:12} equal: {np.array_equal(made_on(torch.device(sys.argv[1]), batch).cpu().numpy(), inputs(batch))}")
PYTHON
