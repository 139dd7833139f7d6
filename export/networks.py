"""The networks of the model repository, declared once: their precisions, and how far each may be from fp32.

Names, shapes and types of the tensors are those of the stages' config.pbtxt and stand only there. Whatever makes typed
graphs, compares them, builds engines of them or measures them goes by this table.

Tolerances are absolute, in the unit of the output itself, since what is seen or heard of an error does not depend on
the size of the value that it was made in. They hold for a network alone, fed with what the session really fed it, and
are what a precision may do to the output, whichever runtime computes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Precision = Literal["fp32", "fp16", "int8"]

FULL: Final[Precision] = "fp32"
HALF: Final[Precision] = "fp16"
INT8: Final[Precision] = "int8"


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from the one that the committed ONNX gives in fp32 on a CPU."""

    unit: str
    largest: float
    """Limit of the absolute error of every single number. Wide where an output has decisions in it: a pixel on the seam
    of the lips shows the one or the other, and the last bit of a distance decides which."""
    usual: float
    """Limit of the 99.9th percentile of the absolute errors over all frames."""
    why: str
    """What the numbers were chosen by."""
    least_psnr: float | None = None
    """dB, of the worst frame, against 255 levels. For pictures alone."""


@dataclass(frozen=True)
class HalfPrecision:
    """What of a network is computed in half precision; all the rest stays in single precision.

    Half precision has 11 bits: a coordinate near 512 px would be rounded to a quarter of a pixel, and 1 / x of a small
    x or the logarithm of a weak sound would be lost altogether. So what is computed in half precision is named, and not
    what is spared: the learned convolutions, and what lies between one of them and the next.
    """

    weights: str
    """Pattern (fnmatch) of initializers. A convolution or matrix product that reads one is computed in fp16, and so is
    every operation through which its result reaches another such one."""
    single: tuple[str, ...] = ()
    """Types of operators that stay in fp32 all the same."""
    why: str = ""
    """What was spared, and why."""


@dataclass(frozen=True)
class Network:
    """One stage that runs an ONNX graph."""

    stage: str
    """Its folder in the model repository."""
    tolerances: Mapping[Precision, Mapping[str, Tolerance]]
    """By precision, then by output. A stage has the precisions that it has tolerances for."""
    half: HalfPrecision | None = None

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What the stage can be had in, fp32 first."""
        return tuple(self.tolerances)


def _same(unit: str, largest: float, why: str) -> Tolerance:
    """For fp32 against fp32: the order of additions is all that differs."""
    return Tolerance(unit, largest, largest, why)


PICTURE_IN_FP32 = Tolerance(
    "level", 2.0, 1.0, "one number rounded the other way, and once more where the matte crosses it", least_psnr=60.0
)
FLOW_IN_FP32 = _same("px", 0.01, "a tenth of what moves an edge of 10 levels per px by one level")

_TEXTURE_UNIT = "level, cover 0..1"
_SEAM = "; a pixel on a seam may show the other side, as far away as the mouth is open"
_CANVAS_FLOW = Tolerance("px", 64.0, 0.01, FLOW_IN_FP32.why + _SEAM)
_TEXTURE_IN_FP32 = Tolerance(_TEXTURE_UNIT, 255.0, 0.1, "below what a byte can hold" + _SEAM)
_TEXTURE_IN_FP16 = Tolerance(_TEXTURE_UNIT, 255.0, 0.5, "a byte rounded the other way" + _SEAM)
_REFINED_IN_FP32 = Tolerance(_TEXTURE_UNIT, 1.0, 0.1, "below what a byte can hold: nothing is decided here")
_REFINED_IN_FP16 = Tolerance(_TEXTURE_UNIT, 4.0, 0.5, "a byte rounded the other way; a few at the hardest edges")
_TEXTURE_IN_INT8 = Tolerance(
    _TEXTURE_UNIT, 255.0, 4.0, "what the tier changes, told a little coarser" + _SEAM, least_psnr=50.0
)

NETWORKS: Final[tuple[Network, ...]] = (
    Network(
        "speech_encoder",
        MappingProxyType(
            {
                FULL: MappingProxyType({"EMBEDDING": _same("1", 2e-3, "embeddings reach 4")}),
                HALF: MappingProxyType(
                    {"EMBEDDING": Tolerance("1", 0.05, 0.02, "embeddings reach 4; a hundredth of it at most")}
                ),
            }
        ),
        HalfPrecision(
            "mixes.*.weight",  # from the first of them on: neither `stem` nor the first of `blocks`
            single=("Add", "Div", "Erf", "Mul", "Pad", "Slice"),
            why="the spectrum and its logarithm: power spans ten decades, fp16 four; the first convolutions, which "
            "read the logarithm and lose most; and what lies between the others",
        ),
    ),
    Network(
        "expression",
        MappingProxyType(
            {
                FULL: MappingProxyType(
                    {
                        "SPEECH_FACE": _same(
                            "weight 0..1", 1e-3, "jawOpen moves the chin by 52 px: a twentieth of a pixel"
                        ),
                        "VISEME": _same("probability", 1e-3, "far from what changes the likeliest one"),
                    }
                ),
                HALF: MappingProxyType(
                    {
                        "SPEECH_FACE": Tolerance(
                            "weight 0..1", 5e-3, 2e-3, "of jawOpen 5e-3 moves the chin by a quarter of a pixel"
                        ),
                        "VISEME": Tolerance("probability", 0.03, 0.01, "far from what changes the likeliest one"),
                    }
                ),
            }
        ),
        HalfPrecision(
            "*.weight",
            single=("LayerNormalization", "Softmax"),
            why="sums of squares and of exponentials; the anatomy that turns articulation into the 52 weights",
        ),
    ),
    Network(
        "face_geometry",
        MappingProxyType(
            {
                FULL: MappingProxyType(
                    {
                        "FACE_FLOW": FLOW_IN_FP32,
                        "SEAM_FLOW": FLOW_IN_FP32,
                        "HEAD_FLOW": FLOW_IN_FP32,
                        "AFFINES": _same("cm, px", 0.01, "as for a flow"),
                    }
                ),
                HALF: MappingProxyType(
                    {
                        "FACE_FLOW": Tolerance("px", 0.1, 0.03, "a tenth of a pixel is not seen to move"),
                        "SEAM_FLOW": Tolerance("px", 0.1, 0.03, "the same"),
                        "HEAD_FLOW": FLOW_IN_FP32,
                        "AFFINES": Tolerance("cm, px", 0.02, 0.01, "the same, of teeth, tongue and eyeballs"),
                    }
                ),
            }
        ),
        HalfPrecision(
            "basis",
            why="all but the sum of the face model's shapes is coordinates: Newton's inversion, the head's pose",
        ),
    ),
    Network(
        "renderer",
        MappingProxyType(
            {
                FULL: MappingProxyType(
                    {
                        "CANVAS_FLOW": _CANVAS_FLOW,
                        "CANVAS_TEXTURE": _TEXTURE_IN_FP32,
                    }
                ),
                HALF: MappingProxyType(
                    {
                        "CANVAS_FLOW": _CANVAS_FLOW,
                        "CANVAS_TEXTURE": _TEXTURE_IN_FP16,
                    }
                ),
            }
        ),
        HalfPrecision(
            "refiner.*.weight",
            why="what geometry draws: flows in px, signed distances, grids; and where the network lays its answer on",
        ),
    ),
    *(
        Network(
            stage,
            MappingProxyType(
                {
                    FULL: MappingProxyType({"REFINED_TEXTURE": _REFINED_IN_FP32}),
                    HALF: MappingProxyType({"REFINED_TEXTURE": _REFINED_IN_FP16}),
                    # Elsewhere it saves too little: perf/int8.py.
                    **(
                        {INT8: MappingProxyType({"REFINED_TEXTURE": _TEXTURE_IN_INT8})}
                        if stage == "refiner_high"
                        else {}
                    ),
                }
            ),
            HalfPrecision("*.weight", why="the photo's sampling, and where the network lays its answer on"),
        )
        for stage in ("refiner_standard", "refiner_high")
    ),
    Network("compositor", MappingProxyType({FULL: MappingProxyType({"FRAME": PICTURE_IN_FP32})})),
)

CHAIN: Final[Mapping[Precision, Mapping[str, Tolerance]]] = MappingProxyType(
    {
        HALF: MappingProxyType(
            {
                "FRAME": Tolerance(
                    "level", 255.0, 3.0, "at 45 dB nobody tells two pictures apart" + _SEAM, least_psnr=45.0
                ),
                "PARAMETERS": Tolerance("1, rad", 0.01, 5e-3, "of jawOpen 0.01 moves the chin by half a pixel"),
            }
        )
    }
)
"""The whole stream where every stage has the precision, or fp32 if it cannot be had in it: the frames and parameters
shown, behind the memory of all stages."""


def network(stage: str) -> Network:
    """The network of a stage.

    Raises:
        KeyError: no stage of that name runs a network; the text names those that do.
    """
    for one in NETWORKS:
        if one.stage == stage:
            return one
    raise KeyError(f"stage is {stage!r}, expected one of {', '.join(one.stage for one in NETWORKS)}")


def tolerance(stage: str, precision: Precision, output: str) -> Tolerance:
    """How far one output may be off.

    Raises:
        KeyError: the stage is not there, or it cannot be had in that precision, or has no such output.
    """
    tolerances = network(stage).tolerances
    if precision not in tolerances:
        raise KeyError(f"precision of {stage} is {precision!r}, expected one of {', '.join(tolerances)}")
    if output not in tolerances[precision]:
        raise KeyError(f"output of {stage} is {output!r}, expected one of {', '.join(tolerances[precision])}")
    return tolerances[precision][output]


def stage_precision(stage: str, wanted: Precision) -> Precision:
    """The precision in which a stage is had where `wanted` is asked of the whole chain: fp32 if it has no such one."""
    return wanted if wanted in network(stage).precisions else FULL
