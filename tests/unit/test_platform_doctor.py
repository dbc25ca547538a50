"""The check-up: what clashes is named with its remedy."""

import os

import pytest
from recorded_machine import Recorded

from recsmith.platforms.cpu import probe
from recsmith.platforms.doctor import checkup, page_findings, processor_findings
from recsmith.platforms.finding import Checkup
from recsmith.platforms.granted import granted_bytes, huge_bytes
from recsmith.platforms.native_build import newest_source
from recsmith.platforms.packages import package_findings
from recsmith.platforms.pages import HugePages
from recsmith.platforms.system import System


def status(findings, name):
    [found] = [finding for finding in findings if finding.name == name]
    return found.status


def clashes(**versions):
    have = {name.replace("_", "-"): version for name, version in versions.items()}
    return [f.name for f in package_findings(have.get) if f.status == "problem"]


def test_everything_here_fits_one_screen_with_remedies():
    found = checkup()
    assert len(found.findings) < 40
    assert all(finding.remedy for finding in found.findings if finding.status != "ok")
    assert found.areas[0] == "recsmith" and {"native", "processor", "memory", "packages"} <= set(found.areas)
    assert Checkup.from_json(found.to_json()) == found


def test_pairs_that_belong_together_are_fine():
    assert clashes(torch="2.13.0+cpu", fbgemm_gpu_cpu="1.8.0", zentorch="2.13.0.2") == []
    assert clashes(torch="2.14.1", fbgemm_gpu_cpu="1.9.0", torchrec="1.9.2", torchmetrics="1.0.3") == []
    assert clashes() == []


def test_clashing_pairs_are_named():
    assert clashes(torch="2.13.0+cpu", fbgemm_gpu_cpu="1.9.0") == ["fbgemm-gpu-cpu and torch"]
    assert clashes(torch="2.14.0", zentorch="2.13.0.2") == ["zentorch and torch"]
    assert clashes(fbgemm_gpu="1.8.0", fbgemm_gpu_cpu="1.8.0") == ["fbgemm-gpu and fbgemm-gpu-cpu"]
    assert clashes(torchrec="1.9.2", fbgemm_gpu_cpu="1.8.0") == ["torchrec and fbgemm"]


def test_the_remedy_names_the_version_that_fits():
    have = {"torch": "2.13.0", "fbgemm-gpu-cpu": "1.9.0"}
    [clash] = [f for f in package_findings(have.get) if f.status == "problem"]
    assert clash.remedy == "pip install 'fbgemm-gpu-cpu==1.8.*'"


def test_absent_packages_name_their_extra():
    found = package_findings(lambda name: None)
    assert {finding.status for finding in found} == {"note"}
    assert "recsmith[plan]" in next(f for f in found if f.name == "highspy").remedy


def test_huge_pages_switched_off_name_the_command():
    findings = page_findings(HugePages("never"), 0)
    assert [finding.status for finding in findings] == ["warning", "warning"]
    assert "transparent_hugepage/enabled" in findings[0].remedy
    assert [f.status for f in page_findings(HugePages("madvise"), 16 << 20)] == ["ok", "ok"]
    assert [f.status for f in page_findings(HugePages("madvise"), 0)] == ["ok", "warning"]


def test_huge_pages_are_counted_in_the_mapping_only():
    smaps = "1000-3000 rw-p 0\nAnonHugePages:  2048 kB\n3000-5000 rw-p 0\nAnonHugePages:  4096 kB\n"
    assert huge_bytes(smaps, 0x1000, 0x3000) == 2 << 20
    assert huge_bytes(smaps, 0x2000, 0x4000) == 6 << 20
    assert huge_bytes("", 0, 1) == 0


def test_granted_huge_pages_are_bounded_by_what_was_asked():
    assert 0 <= granted_bytes(4 << 20) <= 4 << 20


def test_a_slow_clock_and_a_shared_cache_are_pointed_out(tmp_path):
    recorded = Recorded(tmp_path, caches={1: "48K", 2: "2048K", 3: "491520K"})
    recorded.write()
    recorded.put("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")
    recorded.put("proc/loadavg", "3.9 1 1 1/100 1")
    findings = processor_findings(System(tmp_path), probe(tmp_path))
    assert status(findings, "clock source") == "warning"
    assert status(findings, "caches") == "note"
    assert status(findings, "load") == "warning"
    assert status(findings, "cores usable") == "ok"


@pytest.mark.parametrize("stale", [True, False])
def test_a_module_older_than_its_sources_is_found(tmp_path, stale):
    module, source = tmp_path / "src/recsmith/_native.so", tmp_path / "csrc/lookup/call.hpp"
    for path, when in ((module, 1000), (source, 2000 if stale else 500)):
        path.parent.mkdir(parents=True)
        path.write_text("")
        os.utime(path, (when, when))
    newest = newest_source(module)
    assert newest == source
    assert (newest.stat().st_mtime > module.stat().st_mtime) is stale


def test_an_installed_module_has_no_sources(tmp_path):
    assert newest_source(tmp_path / "site-packages/recsmith/_native.so") is None
