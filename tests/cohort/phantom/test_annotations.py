"""What is burned in stands where the boxes say, and nowhere else."""

import numpy as np

from datadouble.cohort.phantom import draw

KIND = "breast-ultrasound"


def test_boxes_hold_all_that_changed() -> None:
    for patient in range(8):
        clean = draw(KIND, patient, 0, "3", size=160)
        burned = draw(KIND, patient, 0, "3", size=160, annotations=True)
        assert clean.annotations == () and burned.annotations
        changed = clean.image != burned.image
        covered = np.zeros_like(changed)
        for note in burned.annotations:
            box = (slice(note.y0, note.y1), slice(note.x0, note.x1))
            assert 0 <= note.x0 < note.x1 <= 160 and 0 <= note.y0 < note.y1 <= 160
            covered[box] = True
            if note.kind == "text":
                assert burned.image[box].max() > 180
        assert changed.any() and not np.any(changed & ~covered)
        assert np.array_equal(clean.mask, burned.mask)


def test_every_picture_has_words_and_calipers_stand_on_the_lesion() -> None:
    kinds = set()
    for patient in range(12):
        scan = draw(KIND, patient, 0, "2", size=160, annotations=True)
        kinds |= {note.kind for note in scan.annotations}
        assert any(note.kind == "text" and note.text for note in scan.annotations)
        rows, columns = np.nonzero(scan.mask)
        for note in scan.annotations:
            if note.kind == "caliper":
                assert rows.min() - 3 <= (note.y0 + note.y1) / 2 <= rows.max() + 4
                assert columns.min() - 3 <= (note.x0 + note.x1) / 2 <= columns.max() + 4
    assert kinds == {"text", "caliper", "line", "ruler"}


def test_normal_scans_have_no_calipers() -> None:
    for patient in range(6):
        scan = draw(KIND, patient, 0, "normal", size=128, annotations=True)
        assert not {"caliper", "line"} & {note.kind for note in scan.annotations}
