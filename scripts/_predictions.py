"""What a network's output says: how it is drawn, and how far it is from that of the dense one."""

import abc
from typing import Any

import jax
import numpy as np

from deltajax.metrics import SURE, intersection_over_union, keypoint_shift, top1_agreement
from deltajax.models import (
    BlazePose,
    BodyPose,
    PoseHRNet,
    PoseResNet,
    SelfieSegmentation,
    VideoNetwork,
    decode_heatmaps,
    imagenet_classes,
)
from deltajax.models.blazepose import SIDE
from deltajax.models.skeletons import BLAZEPOSE, SKELETONS, Skeleton
from deltajax.tuning import Objective
from deltajax.video import draw_text, heatmap_overlay, mask_overlay, skeleton_overlay

TOP = 5
"""Classes that are named on a picture."""
VISIBLE = 0.2
"""Probability from which on a landmark is drawn."""
PRESENT = 0.5
"""Probability from which on there is a person."""


class Prediction(abc.ABC):
    """The reading of a network's outputs.

    Attributes:
        metric: what `agreement` is, for tables and reports.
    """

    metric: str

    def __init__(self) -> None:
        self._outputs: list[Any] = []
        self._expected: list[Any] = []

    @abc.abstractmethod
    def draw(self, frame: np.ndarray, output: Any) -> np.ndarray:
        """One stream's output [...] on its frame, uint8 [H, W, 3]."""

    @abc.abstractmethod
    def kept(self, output: Any) -> Any:
        """What is compared of outputs [N, ...]."""

    @abc.abstractmethod
    def compared(self, output: Any, expected: Any) -> float | None:
        """The metric of what was kept of all frames [T, ...]; None if no frame counts."""

    def add(self, output: Any, expected: Any) -> None:
        """Counts outputs [N, ...] and those of the dense network."""
        self._outputs.append(self.kept(output))
        self._expected.append(self.kept(expected))

    def agreement(self) -> float | None:
        """Over all that was counted; None if that was nothing."""
        if not self._outputs:
            return None
        together = jax.tree.map(lambda *arrays: np.concatenate(arrays), *self._outputs)
        expected = jax.tree.map(lambda *arrays: np.concatenate(arrays), *self._expected)
        return self.compared(together, expected)


class Classes(Prediction):
    """Logits [N, classes]."""

    metric = "top1_agreement"

    def draw(self, frame, output):
        probabilities = np.asarray(jax.nn.softmax(output))
        best = np.argsort(-probabilities)[:TOP]
        names = imagenet_classes()
        if len(probabilities) != len(names):
            names = tuple(f"class {index}" for index in range(len(probabilities)))
        return draw_text(frame, [f"{names[index]}: {probabilities[index]:.1%}" for index in best])

    def kept(self, output):
        return output

    def compared(self, output, expected):
        return top1_agreement(output, expected)


class Segmentation(Prediction):
    """Probabilities [N, H, W, 1]."""

    metric = "intersection_over_union"

    def draw(self, frame, output):
        return mask_overlay(frame, output[..., 0])

    def kept(self, output):
        # Masks of a whole video in little memory.
        return np.asarray(output) > 0.5

    def compared(self, output, expected):
        return intersection_over_union(output, expected)


class Heatmaps(Prediction):
    """Heatmaps [N, h, w, joints], whose keypoints mean nothing with random weights."""

    metric = "keypoint_shift"

    def __init__(self, trained: bool, skeleton: Skeleton) -> None:
        super().__init__()
        self._trained, self._skeleton = trained, skeleton

    def draw(self, frame, output):
        picture = heatmap_overlay(frame, output)
        skeleton = self._skeleton
        if not self._trained or output.shape[-1] != len(skeleton.names):
            return picture
        (points,), (scores,) = decode_heatmaps(output[None])
        points = np.asarray(points) * (frame.shape[0] / output.shape[0])
        visible = np.asarray(scores) > SURE
        sides = np.array(skeleton.sides)
        return skeleton_overlay(picture, points, skeleton.edges, visible, sides=sides)

    def kept(self, output):
        points, scores = decode_heatmaps(output)
        # As a share of the picture's height.
        return np.asarray(points) / output.shape[1], np.asarray(scores) > SURE

    def compared(self, output, expected):
        (points, _), (wanted, valid) = output, expected
        return _mean(keypoint_shift(points, wanted, valid))


class Landmarks(Prediction):
    """A `BodyPose`."""

    metric = "keypoint_shift"

    def draw(self, frame, output: BodyPose):
        if output.presence < PRESENT:
            return draw_text(frame, "nobody")
        joints = len(BLAZEPOSE.names)
        points = output.landmarks[:joints, :2] * (frame.shape[0] / SIDE)
        visible = np.asarray(jax.nn.sigmoid(output.landmarks[:joints, 3])) > VISIBLE
        return skeleton_overlay(
            frame, points, BLAZEPOSE.edges, visible, sides=np.array(BLAZEPOSE.sides)
        )

    def kept(self, output: BodyPose):
        joints = len(BLAZEPOSE.names)
        # As a share of the box's side.
        return np.asarray(output.landmarks[:, :joints, :2]) / SIDE, np.asarray(output.presence)

    def compared(self, output, expected):
        (points, _), (wanted, presence) = output, expected
        present = np.broadcast_to((presence > PRESENT)[:, None], points.shape[:-1])
        return _mean(keypoint_shift(points, wanted, present))


def prediction_of(network: VideoNetwork, trained: bool) -> Prediction:
    """How to read what a network puts out."""
    match network:
        case SelfieSegmentation():
            return Segmentation()
        case BlazePose():
            return Landmarks()
        case PoseResNet() | PoseHRNet():
            return Heatmaps(trained, SKELETONS[network.joints])
        case _:
            return Classes()


def prediction_objective(network: VideoNetwork) -> Objective:
    """How far predictions are from those of the dense network: 0 if they are the same."""

    def objective(outputs: Any, expected: Any) -> float:
        prediction = prediction_of(network, trained=True)
        prediction.add(*(jax.tree.map(flat, tree) for tree in (outputs, expected)))
        agreement = prediction.agreement()
        if agreement is None:
            raise ValueError("the dense network finds nothing in these frames to compare with")
        return agreement if prediction.metric == "keypoint_shift" else 1 - agreement

    def flat(array: np.ndarray) -> np.ndarray:
        return np.reshape(array, (-1, *array.shape[2:]))

    objective.__qualname__ = prediction_of(network, trained=True).metric
    return objective


def _mean(shifts: np.ndarray) -> float | None:
    counted = shifts[~np.isnan(shifts)]
    return float(counted.mean()) if counted.size else None
