# detectron2 as a LazyConfig: Faster R-CNN C4, our ResNet-50, COCO 2017; the recipe of coco_frcnn_r50_c4.yaml.
# Command:   python lazyconfig_train_net.py --num-gpus 8 \
#              --config-file configs/detectron2/coco_frcnn_r50_c4_lazy.py      (in detectron2's tools/)
# Weights:   WEIGHTS below must name an ImageNet ResNet-50 with the stride on the 3x3 convolution.
# Hardware:  8 GPUs, two pictures each. Hours: not run here.
# Expected:  unknown; detectron2 reports AP 35.7 for its own R50-C4 1x.
from detectron2.config import LazyCall
from detectron2.model_zoo import get_config

from backbones import IMAGENET_INPUT
from backbones.adapters.detectron2 import ResidualBackbone, pixel_settings, residual_res5

WEIGHTS = "weights/imagenet_r50.safetensors"

model = get_config("common/models/mask_rcnn_c4.py").model
model.update(pixel_settings(IMAGENET_INPUT))
model.backbone = LazyCall(ResidualBackbone)(
    name="resnet50",
    out_features=["res4"],
    freeze_at=2,
    weights=WEIGHTS,
    input_format="${..input_format}",
    pixel_mean="${..pixel_mean}",
    pixel_std="${..pixel_std}",
)
model.roi_heads.res5 = LazyCall(residual_res5)(name="${...backbone.name}", weights="${...backbone.weights}")
model.roi_heads.box_predictor.input_shape.channels = 2048
del model.roi_heads["mask_head"]

dataloader = get_config("common/data/coco.py").dataloader
dataloader.train.mapper.image_format = model.input_format
dataloader.train.mapper.use_instance_mask = False
optimizer = get_config("common/optim.py").SGD
lr_multiplier = get_config("common/coco_schedule.py").lr_multiplier_1x
train = get_config("common/train.py").train
train.output_dir = "runs/detectron2/coco_frcnn_r50_c4_lazy"
