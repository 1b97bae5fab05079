"""Training ψ: the pool of crops, the loop, interruption; the predictors it is measured against."""

import json
import sys

import pytest
import torch
from accelerate import Accelerator
from PIL import Image

import dsd_lib as dsd
from data_scripts import psi_predictors, train_psi
from data_scripts.train_psi import Preset
from dsd_lib.no_reference import PSI_LAYERS

PRESET = Preset(epochs=4, crops=2, batch=3, watch=1)


@pytest.fixture
def pool() -> dict[str, torch.Tensor]:
    """A pool whose norms follow the small pictures' contrast; 10 pictures, a few crops each."""
    pool = {}
    for side, parts in train_psi.PARTS.items():
        contrast = torch.linspace(0.1, 1, 20 * parts).view(10, 2 * parts, 1, 1, 1)
        noise = torch.rand(10, 2 * parts, 3, side // 10, side // 10) - 0.5
        pool[f"small{side}"] = (0.5 + contrast * noise).half()
        norms = contrast[:, :, 0, 0].square() * torch.tensor([1.0, 2.0, 3.0, 4.0])
        pool[f"norms{side}"] = norms
    return pool


def run(pool, folder, preset=PRESET):
    folder.mkdir(exist_ok=True)
    return train_psi.train(pool, 4, preset, folder, Accelerator(cpu=True))


def test_crops_lie_in_the_picture_turned_and_mirrored_in_all_ways():
    x = torch.arange(340 * 330.0).view(1, 1, 340, 330).expand(1, 3, 340, 330)
    crops = train_psi.random_crops(x, 320, 60, torch.Generator().manual_seed(0))
    assert crops.shape == (60, 3, 320, 320)
    corners = crops[:, 0, [0, 0, 1], [0, 1, 0]]
    steps = (corners[:, 1:] - corners[:, :1]).tolist()
    assert {tuple(s) for s in steps} == {
        (a, b) for one in (1, -1) for other in (330, -330) for a, b in ((one, other), (other, one))
    }
    rows = (crops[:, 0].amin(dim=(1, 2)) / 330).floor()
    assert rows.min() >= 0 and rows.max() <= 20 and len(rows.unique()) > 5
    with pytest.raises(ValueError, match="expected sides of at least 320 pixels, got 300 x 400"):
        train_psi.random_crops(torch.rand(1, 3, 300, 400), 320, 1, torch.Generator())


def test_the_pool_holds_each_crop_with_its_own_norms(tmp_path, net):
    x = dsd.imresize(torch.rand(1, 3, 20, 20), size=(322, 325)).clamp(0, 1)
    Image.fromarray(dsd.to_array(x)).save(tmp_path / "a.png")
    pool = train_psi.make_pool(
        [tmp_path / "a.png"], Preset(epochs=1, crops=1), 4, Accelerator(cpu=True)
    )
    generator = torch.Generator().manual_seed(0)
    for side, parts in train_psi.PARTS.items():
        x = dsd.load_image(tmp_path / "a.png")
        crops = train_psi.random_crops(x, side, parts, generator)
        norms = dsd.dsd_norm(crops, net, PSI_LAYERS, alpha=4)
        torch.testing.assert_close(pool[f"norms{side}"][0], norms)
        small = dsd.imresize(crops, scale=1 / 4)
        torch.testing.assert_close(pool[f"small{side}"][0].float(), small, rtol=1e-3, atol=1e-3)


def test_a_step_shows_crops_of_one_size_as_many_as_take_one_place(pool):
    generator, seen = torch.Generator().manual_seed(0), set()
    for _ in range(30):
        small, norms = train_psi.draw(pool, torch.tensor([1, 4]), generator)
        assert len(small) == len(norms)
        contrast = small.std(dim=(1, 2, 3)) / 12**-0.5  # of a uniform distribution
        torch.testing.assert_close(norms[:, 0], contrast.square(), rtol=0.15, atol=0)
        seen.add((small.shape[2], len(small) // 2))
    assert seen == {(side // 10, parts) for side, parts in train_psi.PARTS.items()}


def test_training_lowers_the_error_on_pictures_it_never_sees(pool, tmp_path):
    _, record = run(pool, tmp_path, Preset(epochs=30, crops=2, batch=3, watch=10))
    errors = [sum(row["unseen"]) for row in record["curve"]]
    assert errors[-1] < 0.5 * errors[0]


def test_pictures_kept_out_do_not_change_the_weights(pool, tmp_path):
    first, _ = run(pool, tmp_path / "a")
    changed = {k: v.clone() for k, v in pool.items()}
    for name in changed:
        changed[name][9] = 7
    second, _ = run(changed, tmp_path / "b")
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_an_interrupted_run_ends_with_the_weights_of_an_unbroken_one(
    epoch, pool, tmp_path, monkeypatch
):
    unbroken, record = run(pool, tmp_path / "unbroken")
    calls = iter(range(100))
    rate = train_psi.learning_rate

    def stop_in_an_epoch(progress: float) -> float:
        if next(calls) == 3 * epoch + 1:
            raise KeyboardInterrupt
        return rate(progress)

    monkeypatch.setattr(train_psi, "learning_rate", stop_in_an_epoch)
    with pytest.raises(KeyboardInterrupt):
        run(pool, tmp_path / "broken")
    monkeypatch.setattr(train_psi, "learning_rate", rate)
    resumed, again = run(pool, tmp_path / "broken")
    assert [row["unseen"] for row in again["curve"]] == [row["unseen"] for row in record["curve"]]
    for (name, a), b in zip(
        unbroken.state_dict().items(), resumed.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


def test_a_loss_that_is_not_finite_stops_the_run(pool, tmp_path):
    for side in train_psi.PARTS:
        pool[f"norms{side}"][:8, :, 1] = torch.nan
    with pytest.raises(FloatingPointError, match="epoch 0: the loss is not finite"):
        run(pool, tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_the_learning_rate_rises_falls_and_ends_at_zero():
    rates = [train_psi.learning_rate(i / 100) for i in range(101)]
    assert rates[0] == 0 and rates[100] < 1e-9
    assert max(rates) == pytest.approx(train_psi.RATE, rel=0.01)
    assert rates[3:] == sorted(rates[3:], reverse=True)


def test_the_smoke_preset_from_the_command_line(tmp_path, monkeypatch, pictures):
    for part in ("train", "test"):
        (tmp_path / "bsds500" / part).mkdir(parents=True)
        for index in range(5):
            x = dsd.imresize(pictures["cat"], size=(320, 320 + index)).clamp(0, 1)
            Image.fromarray(dsd.to_array(x)).save(tmp_path / "bsds500" / part / f"{index}.png")
    monkeypatch.setenv("DSD_DATA", str(tmp_path))
    folder = tmp_path / "run"
    argv = ["train_psi", "--alpha", "4", "--preset", "smoke", "--folder", str(folder)]
    monkeypatch.setattr(sys, "argv", argv)
    train_psi.main()
    psi = dsd.load_psi(weights=folder / "psi_alpha4.safetensors")
    assert psi(torch.rand(1, 3, 80, 80)).shape == (1, 4)
    record = json.loads((folder / "psi_training_alpha4.json").read_text())["results"]
    assert record["epochs"] == 2 and record["pictures"] == 10
    assert not list(folder.glob("*.part"))


def test_simple_predictors_recover_what_they_can_express(net):
    """Norms that are a line, or a product of powers, of the statistics are predicted exactly."""
    torch.manual_seed(0)
    contrast = torch.linspace(0.2, 1, 24).view(-1, 1, 1, 1)
    small = 0.5 + contrast * (torch.rand(24, 3, 32, 32) - 0.5)
    known = psi_predictors.statistics(small, net).double()
    lines = 0.3 + 2 * known[:, :4]
    powers = known[:, :4].sqrt() * known[:, 8:] ** 2
    for kind, norms in (("line", lines), ("log_linear", powers)):
        fits = psi_predictors.fit(kind, known, norms)
        predictor = psi_predictors.SimplePredictor(kind, 4, fits, net)
        torch.testing.assert_close(predictor(small).double(), norms, rtol=2e-3, atol=1e-5)
    mean = psi_predictors.SimplePredictor("mean", 4, psi_predictors.fit("mean", known, lines), net)
    torch.testing.assert_close(mean(small)[0].double(), lines.mean(dim=0), rtol=1e-4, atol=1e-6)


def test_quality_of_predictions():
    true = torch.tensor([[1.0, 2.0], [2.0, 4.0], [3.0, 9.0]])
    perfect = psi_predictors.quality(true, true)
    assert perfect["r2"] == [1, 1] and perfect["relative_error"] == [0, 0]
    mean = psi_predictors.quality(true.mean(dim=0).expand(3, 2), true)
    assert mean["r2"] == pytest.approx([0, 0], abs=1e-6)
    shifted = psi_predictors.quality(true + 1, true)
    assert shifted["correlation"] == pytest.approx([1, 1])
    assert shifted["r2"][0] == pytest.approx(-0.5)
    assert shifted["relative_error"] == pytest.approx([0.5, 0.2])
