"""Running commands as a user does, and what they run on."""

import numpy as np
import pytest

from recsmith.cli.app import main
from recsmith.spec import Model


def recsmith(capsys, *words):
    """Exit code, stdout and stderr of one command."""
    code = 0
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code or 0
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def quietly(*words):
    """One command, which has to succeed."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert not stop.value.code


def imported(at, model: Model, name: str, *words):
    """The original's checkpoint `name`, 300 rows of ids to score, and the artifact `model` imported with `words`.

    Returns the ids.
    """
    import torch

    from recsmith.testing.torch_dlrm import TorchDlrm

    torch.manual_seed(0)
    torch.save({"state_dict": TorchDlrm(model).state_dict()}, at / name)
    draw = np.random.default_rng(0)
    ids = {f"C{i + 1}": draw.integers(0, model.table_of(f).rows, 300) for i, f in enumerate(model.features)}
    np.savez(at / "rows.npz", **ids, dense=draw.normal(size=(300, model.dense_inputs)).astype(np.float32))
    quietly("import", at / name, "-o", at / "model", *words)
    return ids
