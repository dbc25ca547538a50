"""Ordinary DLRM checkpoints of random parameters, and engines for what was imported from them."""

import recsmith
from recsmith.spec import Feature, Interaction, Mlp, Model, Table


def dlrm(rows, dim, *, interaction="dot", dense=13):
    tables = tuple(Table(f"emb_{i}", count, dim) for i, count in enumerate(rows))
    vectors = len(rows) + 1
    top = dim + vectors * (vectors - 1) // 2 if interaction == "dot" else dim * vectors
    return Model(
        "dlrm",
        tables,
        tuple(Feature(f"C{i + 1}", table.name) for i, table in enumerate(tables)),
        dense_inputs=dense,
        bottom=Mlp((dense, 32, dim), ("relu", "relu"), "bottom"),
        interaction=Interaction(interaction),
        top=Mlp((top, 24, 1), ("relu", "sigmoid"), "top"),
    )


def save_checkpoint(model, path):
    """Write an ordinary `DLRM_Net` checkpoint of random parameters, and return the module it came from."""
    import torch

    from recsmith.testing.torch_dlrm import TorchDlrm

    torch.manual_seed(0)
    module = TorchDlrm(model).eval()
    torch.save({"epoch": 1, "state_dict": module.state_dict()}, path)
    return module


def engine_of(model, weights, planner="symmetric"):
    machine = recsmith.platform("cpu")
    made = recsmith.plan(model, machine, recsmith.Workload.uniform(model, 64), planner=planner)
    return recsmith.compile(model, made, weights, platform=machine)
