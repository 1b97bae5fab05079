"""The choice of the dial's default position."""

import numpy as np
import pytest
import torch
from PIL import Image

import dsd_lib as dsd
from data_scripts import choose_naturalness as script
from dsd_lib.restoration.networks import XSRResNet
from dsd_lib.restoration.restore import restore


def test_the_dial_is_measured_at_every_position(tmp_path, pictures):
    file = tmp_path / "a.png"
    Image.fromarray(dsd.to_array(pictures["cat"])).save(file)
    case = script.make_case("sr", file, 0, side=192)
    assert case.target.shape == (1, 3, 192, 192) and case.given.shape == (1, 3, 48, 48)
    torch.manual_seed(0)
    ends = XSRResNet(4, 1, 4), XSRResNet(4, 1, 4)
    found = script.measure_dial("sr", [case, case], ends, (0, 0.5, 1), ["psnr_y"])
    values = np.array(found["psnr_y"])
    assert values.shape == (3, 2) and (values[:, 0] == values[:, 1]).all()
    assert len(set(values[:, 0])) == 3 and len(found["true_niqe"]) == 2
    x = script.to_eight_bits(restore(case.given, "sr", network=ends[0]))
    expected = script.MEASURES["psnr_y"][0](x, case).item()
    assert values[0, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("perceived", "niqe", "chosen"),
    [
        ((0.30, 0.21, 0.20), (6.0, 5.0, 4.0), 1),  # the middle is 5 % worse
        ((0.30, 0.2015, 0.20), (6.0, 4.9, 4.0), 0.5),  # nearly the best, and natural enough
        ((0.30, 0.2015, 0.20), (6.0, 5.1, 4.0), 1),  # nearly the best, but not natural enough
        ((0.30, 0.20, 0.25), (6.0, 2.0, 1.0), 0.5),  # too natural counts as well; none fits
        ((0.20, 0.20, 0.20), (4.0, 4.0, 4.0), 0),  # nothing to gain: nothing to pay
    ],
)
def test_the_rule(perceived, niqe, chosen):
    found = {"st_lpips": [[p] for p in perceived], "niqe": [[n] for n in niqe]}
    assert script.choose((0, 0.5, 1), found | {"true_niqe": [4.0]}) == chosen
