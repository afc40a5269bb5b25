"""What is installed on the machine: only what is missing, by one line that can be read before it is run."""

import shlex
import subprocess

from local import prepare


def test_the_line_for_root_is_shell_and_is_shown_as_it_is_run() -> None:
    script = prepare.install_script(["postgresql-postgis", "haproxy", "python3-venv"])
    assert "\n" not in script
    assert shlex.split(prepare.shown(script)) == ["sudo", "sh", "-c", script]
    subprocess.run(["sh", "-n", "-c", script], check=True)


def test_postgresql_makes_no_system_cluster_and_haproxy_no_system_service() -> None:
    script = prepare.install_script(["postgresql-postgis", "haproxy"])
    assert script.index("create_main_cluster=false") < script.index("apt-get install")
    assert "systemctl disable --now haproxy" in script
    other = prepare.install_script(["gdal-bin"])
    assert "create_main_cluster" not in other
    assert "haproxy" not in other


def test_nothing_is_missing_where_the_tests_run() -> None:
    assert prepare.missing_packages(private_cluster=True, private_broker=True, dev=True) == {}
    assert prepare.missing_packages(private_cluster=False, private_broker=False, dev=False) == {}
