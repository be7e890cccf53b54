"""What a network is made of, printed and drawn: every parameter once, and the sizes of its maps."""

import pytest
import timm

from helpers.lessons.backbone import explain
from helpers.models.classifier import make_head


def table(capsys):
    return [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(("arch", "last"), [("test_resnet", (2, 96)), ("test_vit", (1, 64))])
def test_every_stage_is_listed_with_its_parameters(arch, last, capsys):
    """Catches stages left out, and sizes of tokens read as sizes of maps."""
    drawing = explain(arch, size=64, n_classes=5)
    rows = table(capsys)
    stages = [row for row in rows if row and row[0].isdigit()]
    network = timm.create_model(arch, num_classes=0)
    head = next(row for row in rows if row and row[0] == "head")
    parameters = [int(row[-1].replace(",", "")) for row in stages]
    assert sum(parameters) == sum(parameter.numel() for parameter in network.parameters())
    factor = 2 if arch == "test_resnet" else 1  # the largest and the mean of each map
    own = sum(parameter.numel() for parameter in make_head(factor * network.num_features, 5).parameters())
    assert head[1:] == ["2", "5", "classes", f"{own:,}"]
    assert (int(stages[-1][2]), int(stages[-1][6])) == last and stages[0][1] == "0"
    assert arch in drawing.text or "5 classes" in drawing.text


def test_the_size_is_the_networks_own_unless_another_is_asked_for(capsys):
    """Catches 224 px for a network that was trained on another size, and published figures left out."""
    explain("test_resnet")
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("test_resnet: no accuracy published") and "trained at 160 px, here 160 px" in first
    explain("efficientnet_lite0", size=64)
    text = capsys.readouterr().out
    assert "75.1 % of ImageNet's validation pictures right, as published" in text
    assert "weights on this machine" in text and "mean 0.498, 0.498 and 0.498" in text


def test_a_wrong_name_says_what_to_type():
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        explain("resnet_18")
