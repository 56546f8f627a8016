from export.tolerance import HALVED, float16_tolerance, golden_tolerance


def test_float16_allows_more_of_everything_on_every_provider_and_says_what_was_measured():
    single = golden_tolerance(reason="plain")
    half = float16_tolerance(single)
    assert half.raw == dict.fromkeys(single.raw, HALVED)
    assert (half.score, half.box_iou, half.mask_iou, half.cosine, half.point_px) == (0.03, 0.9, 0.9, 0.99, 2.0)
    assert half.reason.startswith(single.reason)
    assert "EfficientNet-Lite0 move by 0.13 of logits up to 36" in half.reason


def test_float16_never_allows_less_than_float32_does():
    wide = golden_tolerance(reason="plain", score=0.1, box_iou=0.5, mask_iou=0.5, cosine=0.5, point_px=9.0)
    half = float16_tolerance(wide)
    assert (half.score, half.box_iou, half.mask_iou, half.cosine, half.point_px) == (0.1, 0.5, 0.5, 0.5, 9.0)
