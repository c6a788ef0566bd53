"""Tiny nnU-Net models in exactly the folders and files that TotalSegmentator expects; no trained weights are needed.

Three kinds of network, all real nnU-Net architectures run by the real package:

- ``random``: two stages with random weights and instance norm. Its masks are noise of all classes: any difference in
  what it is fed shows.
- ``bands``: weights set by hand so that class k is where the intensity lies within ``BAND_WIDTH / 2`` of
  ``band_centre(k)``, background elsewhere. Its masks are known beforehand, so geometry can be proved.
- ``full``: as ``random``, of nnU-Net's default size, for measurements.

Used by the tests and by the benchmarks; nothing of the product imports it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["BAND_WIDTH", "band_centre", "write_own_model", "write_task", "write_tiny_weights"]

BAND_WIDTH = 16.0
FIRST_CENTRE = -1000.0
PATCH = (24, 40, 40)  # (z, y, x) voxels
FULL_PATCH = (128, 128, 128)
FULL_FEATURES = (32, 64, 128, 256, 320, 320)  # nnU-Net's default 3D network: 31 million weights
CROP_MODELS = {  # dataset ids that TotalSegmentator uses to find a region first: task, spacing, trainer
    297: ("total", 3.0, "nnUNetTrainer_4000epochs_NoMirroring"),
    298: ("total", 6.0, "nnUNetTrainer_4000epochs_NoMirroring"),
    300: ("body", 6.0, "nnUNetTrainer"),
    305: ("vertebrae_body", 1.5, "nnUNetTrainer_DASegOrd0"),
    852: ("total_mr", 3.0, "nnUNetTrainer_2000epochs_NoMirroring"),
}


def band_centre(class_id: int) -> float:
    """Return the intensity that the ``bands`` network answers with this class."""
    return FIRST_CENTRE + BAND_WIDTH * class_id


def write_task(weights: Path, task: str, kind: str = "random", *, fast: bool = False, fastest: bool = False) -> None:
    """Write the models of one task (without those that find its region)."""
    from totalsegmentator.python_api import get_task_config

    config = get_task_config(task, fast=fast, fastest=fastest, quiet=True)
    ids = config["task_id"] if isinstance(config["task_id"], list) else [config["task_id"]]
    for dataset_id in ids:
        write_tiny_weights(weights, dataset_id, task, config, kind)


def write_tiny_weights(
    weights: Path, dataset_id: int, task: str | None = None, config: dict[str, Any] | None = None, kind: str = "random"
) -> Path:
    """Write one model; return its folder. Without ``task`` the id is one of ``CROP_MODELS``."""
    from totalsegmentator.map_tasks_config import DEFAULT_CONFIG, TASK_ID_WEIGHTS_CONFIGS

    if task is None or config is None:
        task, spacing, trainer = CROP_MODELS[dataset_id]
        config = {**DEFAULT_CONFIG, "resample": spacing, "trainer": trainer}
    resample = config["resample"] or 1.5
    spacing_xyz = resample if isinstance(resample, list) else [resample] * 3
    labels, bands = _labels(task, dataset_id)
    name = TASK_ID_WEIGHTS_CONFIGS[dataset_id]["foldername"]
    folder = weights / name / f"{config['trainer']}__{config['plans'] or 'nnUNetPlans'}__{config['model']}"
    for fold in config["folds"] or [0, 1]:
        _write_model(folder, fold, labels, bands, spacing_xyz[::-1], config["trainer"], config["model"], kind, name)
    return folder


def write_own_model(
    folder: Path, names: Iterable[str], spacing_zyx: tuple[float, float, float], kind: str = "bands"
) -> Path:
    """Write a model as ``nnUNetv2_train`` leaves it; return the folder with plans.json."""
    labels = {name: index for index, name in enumerate(names, start=1)}
    inner = folder / "Dataset500_Own" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    _write_model(
        inner,
        0,
        labels,
        {index: index for index in labels.values()},
        list(spacing_zyx),
        "nnUNetTrainer",
        "3d_fullres",
        kind,
        "Own",
    )
    return inner


def _labels(task: str, dataset_id: int) -> tuple[dict[str, int], dict[int, int]]:
    """Names to the network's own ids, and these to the task's class ids, as TotalSegmentator's own tables have them."""
    from totalsegmentator import map_to_binary as tables

    parts = {
        "total": (tables.map_taskid_to_partname_ct, tables.class_map_5_parts),
        "total_v3": (tables.map_taskid_to_partname_ct_v3, tables.class_map_5_parts_total_v3),
        "total_mr": (tables.map_taskid_to_partname_mr, tables.class_map_parts_mr),
        "headneck_muscles": (tables.map_taskid_to_partname_headneck_muscles, tables.class_map_parts_headneck_muscles),
    }
    by_name = {name: index for index, name in tables.class_map[task].items()}
    if task in parts and dataset_id in parts[task][0]:
        own = parts[task][1][parts[task][0][dataset_id]]
        return {name: index for index, name in own.items()}, {index: by_name[name] for index, name in own.items()}
    return by_name, {index: index for index in by_name.values()}


def _write_model(
    folder: Path,
    fold: int,
    labels: dict[str, int],
    bands: dict[int, int],
    spacing_zyx: list[float],
    trainer: str,
    configuration: str,
    kind: str,
    name: str,
) -> None:
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    channels = max(labels.values()) + 1
    architecture = _architecture(kind, channels)
    plans = _plans(name, configuration, spacing_zyx, architecture, kind)
    torch.manual_seed(channels + 7 * fold)
    network = get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        channels,
        deep_supervision=False,
    )
    if kind == "bands":
        _set_bands(network, channels, bands)
    (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **labels},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    torch.save(
        {
            "network_weights": network.state_dict(),
            "trainer_name": trainer,
            "init_args": {"configuration": configuration},
            "inference_allowed_mirroring_axes": (0, 1, 2),
        },
        folder / f"fold_{fold}" / "checkpoint_final.pth",
    )


def _architecture(kind: str, channels: int) -> dict[str, Any]:
    norm = kind != "bands"
    features = {"bands": [channels, 1], "random": [4, 8], "full": list(FULL_FEATURES)}[kind]
    kernel = [1, 1, 1] if kind == "bands" else [3, 3, 3]
    convolutions = 2 if kind == "full" else 1
    stages = len(features)
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": features,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [kernel] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [convolutions] * stages,
            "n_conv_per_stage_decoder": [convolutions] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d" if norm else None,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True} if norm else None,
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.ReLU",
            "nonlin_kwargs": {},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _set_bands(network: Any, channels: int, bands: dict[int, int]) -> None:
    """Make logit k equal -|v - band k| and the background's -1/2, v being the intensity in bands (from 0 on).

    |v - b| = 2 relu(v - b) - v + b, so one feature per class and one for v are enough.
    """
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        first = network.encoder.stages[0][0].convs[0].conv
        merge = network.decoder.stages[0].convs[0].conv
        last = network.decoder.seg_layers[-1]
        first.weight.fill_(1.0)
        for feature in range(channels):
            merge.weight[feature, channels + feature] = 1.0  # the skip is the second half of what is merged
        last.bias.fill_(-1e3)
        last.bias[0] = -0.5
        for own, class_id in bands.items():
            first.bias[own] = -float(class_id)
            last.weight[own, own], last.weight[own, 0] = -2.0, 1.0
            last.bias[own] = -float(class_id)


def _plans(
    name: str, configuration: str, spacing_zyx: list[float], architecture: dict[str, Any], kind: str
) -> dict[str, Any]:
    intensities = (
        {"mean": 50.0, "std": 300.0, "percentile_00_5": -1000.0, "percentile_99_5": 1200.0}
        if kind != "bands"
        else {"mean": FIRST_CENTRE, "std": BAND_WIDTH, "percentile_00_5": -3000.0, "percentile_99_5": 3000.0}
    )
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": spacing_zyx,
        "original_median_shape_after_transp": [100, 100, 100],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            configuration: {
                "data_identifier": "tiny",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(FULL_PATCH if kind == "full" else PATCH),
                "median_image_size_in_voxels": [100.0, 100.0, 100.0],
                "spacing": spacing_zyx,
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
                "batch_dice": False,
                "architecture": architecture,
            }
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"max": 3000.0, "median": 0.0, "min": -3000.0, **intensities}
        },
    }
