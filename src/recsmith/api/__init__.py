"""What people call: from a checkpoint to predictions."""

from .candidates import Making
from .compose import compile, load, measure, plan, platform, problem, rehearse, strategies, tune
from .compressing import Compressed, compress
from .converter import ConvertedTable
from .converting import Converted, convert
from .evaluating import Evaluated, evaluate
from .explored import Explored
from .exploring import explore
from .finishing import servings_within
from .folding import fold, rehearse_fold
from .optimizing import optimize
from .predicting import PredictSummary, predict
from .training import TrainSummary, train
from .verifying import Verified, verify

__all__ = [
    "Compressed",
    "Converted",
    "ConvertedTable",
    "Evaluated",
    "Explored",
    "Making",
    "PredictSummary",
    "TrainSummary",
    "Verified",
    "compile",
    "compress",
    "convert",
    "evaluate",
    "explore",
    "fold",
    "load",
    "measure",
    "optimize",
    "plan",
    "platform",
    "predict",
    "problem",
    "rehearse",
    "rehearse_fold",
    "servings_within",
    "strategies",
    "train",
    "tune",
    "verify",
]
