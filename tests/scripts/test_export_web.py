"""What the live page is made of: networks that are the library's, a runtime that is npm's."""

import hashlib
import json

import numpy as np
import onnx
import pytest

import dsd_lib as dsd
from data_scripts import export_web, vendor_runtime
from data_scripts.shared.assets import TRY, pack, unpack
from dsd_lib.restoration.networks import XSRResNet

MANIFEST = json.loads((TRY / "manifest.json").read_text("utf-8"))
LIMITS = {  # bytes
    ("dsd",): 1_500_000,
    ("psi_alpha2",): 3_200_000,
    ("psi_alpha4",): 3_200_000,
    ("sr_look", "sr_draw"): 2 * 2_500_000,  # two networks, in two parts
}
MODELS = [name for names in LIMITS for name in names]


@pytest.mark.parametrize("names", LIMITS)
def test_a_network_is_small(names: tuple[str, ...]) -> None:
    sizes = [len(unpack(TRY / "models" / f"{name}.js")) for name in names]
    assert sum(sizes) <= LIMITS[names]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_what_the_manifest_says(name: str) -> None:
    entry, content = MANIFEST["models"][name], unpack(TRY / "models" / f"{name}.js")
    assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
    assert entry["largest_relative_difference"] <= 1e-4
    model = onnx.load_from_string(content)
    assert model.opset_import[0].version == MANIFEST["opset"] >= 17
    assert b".py" not in content  # no trace of the machine that made it


def test_the_stored_models_agree_with_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_web, "odd_images", lambda: ODD[:5])
    files = {name: unpack(TRY / "models" / f"{name}.js") for name in MODELS}
    found = export_web.check(files)
    assert list(found) == MODELS
    assert max(found.values()) <= 1e-4, "run: python -m data_scripts.export_web"


ODD = export_web.odd_images()


def test_the_images_compared_are_odd() -> None:
    sides = [side for x in ODD for side in x.shape[2:]]
    assert len(ODD) == 20
    assert all(side % 2 == 1 for side in sides)
    assert min(sides) >= 17 and len(set(sides)) > 10


def test_an_export_of_the_same_network_gives_the_same_bytes() -> None:
    first, second = (export_web.dsd_graph(dsd.load_backbone("vgg16")) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    digest = hashlib.sha256(first.SerializeToString(deterministic=True)).hexdigest()
    assert digest == MANIFEST["models"]["dsd"]["sha256"]  # made by hand, without torch's exporter


def test_weights_that_half_precision_cannot_hold_are_refused() -> None:
    net = dsd.load_backbone("vgg16")
    net.stages["conv1_1"].weight.mul_(1 + 2**-20)
    with pytest.raises(ValueError, match=r"conv1_1.weight: expected weights exact"):
        export_web.dsd_graph(net)


def test_the_reach_of_a_part_is_measured() -> None:
    net = XSRResNet(4, blocks=2, channels=4).double()
    assert export_web.reach(net.look, 3) == 2 + 5 * 2


def test_percentiles_are_those_of_the_stored_results() -> None:
    reference = export_web.reference()
    assert reference["photos"] == 500 and reference["unseen"] == 100
    for alpha in ("2", "4"):
        assert np.shape(reference["norms"][alpha]) == (4, 101)
        assert np.shape(reference["naturalness"][alpha]) == (101,)
        assert (np.diff(reference["norms"][alpha]) >= 0).all()
    text = (TRY / "models" / "reference.js").read_text("ascii")
    stored = json.loads(text.removeprefix('DSDTry.deliver("reference", ').removesuffix(");\n"))
    assert reference["norms"] == stored["norms"]
    assert reference["naturalness"] == stored["naturalness"]


@pytest.mark.parametrize("name", sorted(dsd.sample_images()))
def test_the_photos_are_the_librarys_bit_for_bit(name: str) -> None:
    embedded = (export_web.Path(dsd.__file__).parent / "pictures" / f"{name}.webp").read_bytes()
    assert unpack(TRY / "photos" / f"{name}.js") == embedded
    assert (TRY / "photos" / "thumbs" / f"{name}.webp").is_file()


def test_the_runtime_is_npms() -> None:
    installed = vendor_runtime.PACKAGE.is_dir()
    assert vendor_runtime.differences(vendor_runtime.PACKAGE if installed else None) == []
    root = vendor_runtime.ROOT
    version = json.loads((vendor_runtime.RUNTIME / "manifest.json").read_text("utf-8"))["version"]
    lock = json.loads((root / "package-lock.json").read_text("utf-8"))
    locked = lock["packages"]["node_modules/onnxruntime-web"]
    assert locked["version"] == version
    assert locked["integrity"].startswith("sha512-")
    wanted = json.loads((root / "package.json").read_text("utf-8"))["devDependencies"]
    assert wanted["onnxruntime-web"] == version
    assert "Microsoft" in (vendor_runtime.RUNTIME / "LICENSE").read_text("utf-8")


def test_another_runtime_is_noticed(tmp_path) -> None:
    package, folder = tmp_path / "package", tmp_path / "runtime"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text('{"version": "9"}')
    for file in vendor_runtime.FILES.values():
        (package / "dist" / file).write_bytes(b"code")
    vendor_runtime.write(package, folder)
    assert vendor_runtime.differences(package, folder) == []
    (package / "dist" / "ort.wasm.min.js").write_bytes(b"other code")
    pack("ort_wasm", b"damaged", folder / "ort_wasm.js")
    assert len(vendor_runtime.differences(package, folder)) == 3
    (folder / "ort.js").write_text("alert(1);")
    with pytest.raises(ValueError, match=r"ort.js: expected one DSDTry.deliver call"):
        vendor_runtime.differences(None, folder)
