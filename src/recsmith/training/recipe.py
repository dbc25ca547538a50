"""How a model is trained: the published settings, and what can be changed."""

from __future__ import annotations

from typing import Literal

from recsmith.spec import Feature, IdMap, Interaction, Mlp, Model, Record, Table
from recsmith.spec.model import Activation

Optimizer = Literal["sgd", "adagrad"]


class Recipe(Record, frozen=True):
    """Shape of the dense parts and how they are trained.

    Attributes:
        dim: elements of an embedding.
        bottom: hidden widths of the bottom MLP, which ends in `dim`.
        top: hidden widths of the top MLP, which ends in 1.
        rate: learning rate.
        table_rate, decoder_rate: learning rates of stored rows and of DHE decoders; `rate` when None.
        decoder_start: factor of the first weights and biases of a DHE decoder's last layer: with a small one every id
            starts near zero, as rows of a table do.
        decay: the last part of all updates, over which the rates fall to zero in a straight line; 0 keeps them.
        average: the last part of all updates, whose parameters' mean is the model; 0: the last ones are.
        batch: samples a step.
        passes: times that all training samples are seen.
        shuffle: samples are put in a new order at every pass, within windows of this many; 0 keeps time order.
        seed: of the first weights and of the order.
    """

    dim: int = 16
    bottom: tuple[int, ...] = (512, 256, 64)
    top: tuple[int, ...] = (512, 256)
    interaction: Literal["dot", "cat"] = "dot"
    optimizer: Optimizer = "sgd"
    rate: float = 0.1
    table_rate: float | None = None
    decoder_rate: float | None = None
    decoder_start: float = 1.0
    decay: float = 0.0
    average: float = 0.0
    batch: int = 128
    passes: int = 1
    shuffle: int = 0
    seed: int = 0


# Kaggle and Terabyte: facebookresearch/dlrm's scripts, which [MPREC] used as they are. The other two are ours.
RECIPES = {
    "kaggle": Recipe(),
    "terabyte": Recipe(dim=64, bottom=(512, 256), top=(512, 512, 256), batch=2048),
    "avazu": Recipe(bottom=(64, 32), top=(256, 128)),
    "small": Recipe(
        bottom=(64, 32), top=(128, 64), optimizer="adagrad", rate=0.02, batch=256, passes=8, shuffle=1 << 20
    ),
}
USUAL = {"criteo": "kaggle", "synthetic": "kaggle", "avazu": "avazu", "movielens": "small"}


def untrained(name: str, rows: dict[str, int], vocabularies: tuple[str, ...], dense_inputs: int, how: Recipe) -> Model:
    """A DLRM with one table a feature; features on `vocabularies` take raw ids, row 0 standing for unseen ones."""
    vectors = len(rows) + 1
    width = how.dim * vectors if how.interaction == "cat" else how.dim + vectors * (vectors - 1) // 2
    return Model(
        name=name,
        tables=tuple(Table(feature, count, how.dim) for feature, count in rows.items()),
        features=tuple(Feature(feature, feature, id_map=_map(feature, vocabularies)) for feature in rows),
        dense_inputs=dense_inputs,
        bottom=_mlp((dense_inputs, *how.bottom, how.dim), "bottom", "relu"),
        interaction=Interaction(how.interaction),
        top=_mlp((width, *how.top, 1), "top", "sigmoid"),
    )


def vocabulary_file(feature: str) -> str:
    """What a model calls the vocabulary of a feature."""
    return f"{feature}.vocabulary.txt"


def _map(feature: str, vocabularies: tuple[str, ...]) -> IdMap:
    if feature not in vocabularies:
        return IdMap()
    return IdMap("vocabulary", vocabulary_file(feature), "default", 0)


def _mlp(widths: tuple[int, ...], prefix: str, last: Activation) -> Mlp:
    hidden: list[Activation] = ["relu"] * (len(widths) - 2)
    return Mlp(widths, (*hidden, last), prefix)
