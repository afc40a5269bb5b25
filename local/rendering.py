"""`make render` and `make diff`: the manifests as kustomize builds them, one file per stage."""

import difflib
import sys
from pathlib import Path

from local import migration_doc
from local.instance import VENV, Instance, output_of, say
from local.manifests import find_stage, stage_names


def directories(instance: Instance) -> list[Path]:
    """The directory of each stage, in order."""
    found = [path.parent for path in (instance.checkout / "k8s").glob("[0-9]*/kustomization.yaml")]
    return sorted(found, key=lambda one: int(one.name.split("-")[0]))


def kustomize(directory: Path) -> str:
    """The manifests that `kubectl apply -k` would apply."""
    command = [str(VENV / "bin" / "kubectl"), "kustomize", str(directory)]
    return output_of(command, f"kubectl kustomize {directory.name} failed:")


def render(instance: Instance) -> int:
    """Also updates the drawings and differences in docs/migration.md, which are made from the renderings."""
    for one in directories(instance):
        (instance.rendered / f"{one.name}.yaml").write_text(kustomize(one))
        say(f"k8s/rendered/{one.name}.yaml")
    page = instance.checkout / migration_doc.TARGET
    page.write_text(migration_doc.updated(instance, page.read_text()))
    say(migration_doc.TARGET)
    return 0


def diff(instance: Instance, wanted: str | None = None) -> int:
    """Prints what a stage changes; all of it for the first stage."""
    names = ["nothing", *stage_names(instance)]
    name = find_stage(instance, wanted)
    before = names[names.index(name) - 1]
    files = (instance.rendered / f"{one}.yaml" for one in (before, name))
    old, new = (file.read_text().splitlines(keepends=True) if file.exists() else [] for file in files)
    sys.stdout.writelines(difflib.unified_diff(old, new, before, name))
    return 0
