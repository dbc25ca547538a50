"""From a checkpoint or module to a Model and its Weights. The menu of importers."""

from recsmith.spec import Registry

from .load import import_model

IMPORTERS = Registry(
    "importer",
    {
        "artifact": "recsmith.importers.artifact:open",
        "dlrm": "recsmith.importers.dlrm:from_arrays",
        "module": "recsmith.importers.module:from_module",
    },
)

__all__ = ["IMPORTERS", "import_model"]
