"""`make render` and `make diff`: the manifests as kustomize puts them together, one file per stage."""

import difflib
import shutil
import subprocess
import sys
from pathlib import Path

from local.instance import VENV, Instance, Refused, say
from local.manifests import find_stage, stage_names


def directories(instance: Instance) -> list[Path]:
    """The stages' own, in the order of the walk."""
    found = [path.parent for path in (instance.checkout / "k8s").glob("*/kustomization.yaml")]
    return sorted(
        (one for one in found if one.name[0].isdigit()), key=lambda one: int(one.name.split("-")[0])
    )


def kustomize(directory: Path) -> str:
    """Everything that one `kubectl apply -k` would send."""
    kubectl = shutil.which("kubectl", path=str(VENV / "bin"))
    if kubectl is None:
        raise Refused("kubectl is not in .venv; requirements-dev.txt brings it.")
    result = subprocess.run(
        [kubectl, "kustomize", str(directory)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise Refused(f"kubectl kustomize {directory.name} failed:\n{result.stderr}")
    return result.stdout


def render(instance: Instance) -> None:
    """Also the pictures and figures in docs/migration.md, which are made from the renderings."""
    from local import migration_doc  # noqa: PLC0415 - the seam needs Django, which `make stage` must do without

    texts = {one.name: kustomize(one) for one in directories(instance)}
    for path in instance.rendered.glob("*.yaml"):
        if path.stem not in texts:
            path.unlink()
    for name, text in texts.items():
        (instance.rendered / f"{name}.yaml").write_text(text)
        say(f"k8s/rendered/{name}.yaml")
    migration_doc.tell(instance)
    say(migration_doc.TARGET)


def diff(instance: Instance, wanted: str | None) -> None:
    """The step to a stage from the one before it; for the first one all of it."""
    names = stage_names(instance)
    name = find_stage(instance, wanted)
    position = names.index(name)
    before = names[position - 1] if position else None
    old = (instance.rendered / f"{before}.yaml").read_text() if before else ""
    new = (instance.rendered / f"{name}.yaml").read_text()
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), before or "nothing", name
    )
    sys.stdout.writelines(lines)
