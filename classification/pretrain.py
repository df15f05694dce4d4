"""Pretraining: configuration → data and network → loop → run folder."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones import WeightsHeader, create_model, save_weights
from backbones.complexity import count_parameters
from classification.config import ModelConfig, PretrainConfig
from classification.datasets import open_split
from classification.evaluate import evaluate
from classification.loading import Batch, Pictures, evaluation_batches, training_batches
from engine.checkpoint import load_checkpoint, replace_atomically, save_checkpoint
from engine.config import dump_config
from engine.device import resolve_device
from engine.distributed import initialise, is_main
from engine.errors import UserError
from engine.journal import RunFolder
from engine.loop import StopTraining, TrainingStep, TrainState, fit
from engine.optim import build_optimizer, describe_lr
from engine.seeding import seed_everything

logger = logging.getLogger(__name__)
