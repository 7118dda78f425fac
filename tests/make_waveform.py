"""Folders of small random wav2vec2, HuBERT, WavLM and data2vec-audio encoders for the tests."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": [16, 16, 16],
    "conv_stride": [5, 8, 8],
    "conv_kernel": [10, 8, 8],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "layerdrop": 0.0,
}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model, {}),
    "wav2vec2-stable": (Wav2Vec2Config, Wav2Vec2Model, LAYER_NORM),
    "hubert": (HubertConfig, HubertModel, {}),
    "hubert-stable": (HubertConfig, HubertModel, LAYER_NORM),
    "wavlm": (WavLMConfig, WavLMModel, {}),
    "wavlm-stable": (WavLMConfig, WavLMModel, LAYER_NORM),
    "data2vec-audio": (
        Data2VecAudioConfig,
        Data2VecAudioModel,
        {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5},
    ),
}


def write_waveform(folder: Path, kind: str, normalises: bool = True) -> Path:
    """Write an encoder of 3 layers and width 32, always with the same weights."""
    make_config, make_model, more = KINDS[kind]
    torch.manual_seed(0)
    model = make_model(make_config(**(SMALL | more)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "attention" in name or "pos_conv" in name:
                parameter.mul_(4)  # new weights are so small that a missing mask hardly shows
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=normalises).save_pretrained(folder)
    return folder
