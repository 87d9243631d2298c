"""Networks written in deltajax layers, and weights that others have trained for them."""

from deltajax.heatmaps import decode_heatmaps

from .blazepose import BlazePose, BodyPose
from .common import VideoNetwork
from .efficientnet_lite import EfficientNetLite0
from .folding import fold_batch_norm
from .hrnet import PoseHRNet
from .imagenet import imagenet_classes
from .mobilenet_v2 import MobileNetV2
from .pose_resnet import PoseResNet
from .recommended import recommended, recommended_thresholds
from .registry import NAMES, create
from .resnet import ResNet
from .selfie_segmentation import SelfieSegmentation
from .simple_cnn import SimpleCNN
from .weights import WeightsError, fetch_weights, load_weights, read_weights, save_weights

__all__ = [
    "NAMES",
    "BlazePose",
    "BodyPose",
    "EfficientNetLite0",
    "MobileNetV2",
    "PoseHRNet",
    "PoseResNet",
    "ResNet",
    "SelfieSegmentation",
    "SimpleCNN",
    "VideoNetwork",
    "WeightsError",
    "create",
    "decode_heatmaps",
    "fetch_weights",
    "fold_batch_norm",
    "imagenet_classes",
    "load_weights",
    "read_weights",
    "recommended",
    "recommended_thresholds",
    "save_weights",
]
