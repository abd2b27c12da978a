"""Which tags of a file are kept, by name and by value."""

from __future__ import annotations

import pytest

from heaters_dagster.domain.kept_tags import CameraKept, KeptTags

ALWAYS = [
    ("title", "A day out"), ("timecode", "10:00:00:00"), ("reel_name", "A001"), ("language", "eng"), ("time_reference", "172800000"),
    ("comment", "a series of notes; sensor noise"), ("com.apple.proapps.reel", "A001"), ("artist", "Grace"), ("genre", "Drama"),
    ("title", "A serial killer documentary"), ("comment", "better s/n ratio; S/N 62 dB, s/n 100:1"), ("comment", "The serial 1984, part 2"),
    ("description", "serial no one watched; serial numbers of banknotes"), ("comment", "a TV serial: 24 episodes"),
    ("comment", "Serial No. 5"),
    ("timeinterval", "16500"), ("copyright_owner", "Acme"),
    ("comment", "imeinu 2024"), ("time_code", "10:00:00:00"), ("updated", "twice"),
    ("comment", "How GPS (a history) works; GPS: who made it"),
]  # fmt: skip
PLACES = [
    ("com.apple.quicktime.location.ISO6709", "+52.5163+013.3779/"), ("comment", "GPS(13.3779,52.5163,34)"), ("location-eng", "Berlin"),
]  # fmt: skip
SERIALS = [
    ("com.arri.camera.CameraSerialNumber", "4711"), ("serial_number", "4711"), ("com.android.imei", "490154203237518"), ("device_id", "x"),
    ("com.panasonic.xml", "<Device><SerialNo.>K1TBA0001</SerialNo.></Device>"), ("description", "Acme X1, S/N 4711"), ("lens-id", "12"),
    ("xml", '<Device manufacturer="Sony" modelName="PXW-FS7" serialNo="0012345"/>'),
    ("xml", "<Device><SerialNumber>K1TBA0001</SerialNumber>"),
    ("comment", "Canon XF305 Serial Number                 : 032023001234"), ("xmp", 'aux:SerialNumber="2041234" aux:Lens="50.0 mm"'),
    ("xmp", 'exif:LensSerialNumber="0000c1576a"'), ("comment", "SN: 53HQN4T0M5B7JW"), ("comment", "ALEXA Mini; s/n: K1.0024500-6"),
    ("comment", "serial no. AB 123456"), ("comment", "Serial: 12 34 56"), ("note", '{"serial": "C02XK1"}'),
    ("comment", "IMEI 490154203237518"),
    ("com.acme.camera.identifier", "4711-0012"), ("CameraOwnerName", "Grace"), ("owner", "Grace"), ("hardware_id", "FF01"),
]  # fmt: skip
CAMERAS = [
    ("com.apple.quicktime.make", "Acme"), ("com.apple.quicktime.model", "X1"), ("creation_time", "2024-05-30T12:30:00Z"), ("date", "2024"),
    ("com.android.manufacturer", "Acme"), ("company_name", "Acme"), ("product_name", "X1"), ("modification_date", "2024-05-30"),
    ("handler_name", "Acme AVC"), ("encoder", "Acme HD"), ("firmware", "HD9.01"), ("camera_model_name", "X1"), ("LensModel", "50mm"),
    ("com.apple.quicktime.camera.framereadouttimeinmicroseconds", "16500"), ("com.apple.quicktime.camera.identifier", "Back"),
    ("lens_identification", "EF 50mm"), ("camera_type", "serial killer cam"), ("CreationDate", "2024-05-30"), ("time", "12:30:00"),
]  # fmt: skip


@pytest.mark.parametrize("places", [True, False])
@pytest.mark.parametrize("camera", list(CameraKept))
def test_tags_are_left_out_as_the_settings_say(places: bool, camera: CameraKept) -> None:
    kept = KeptTags(places=places, camera=camera)
    assert [one for one in ALWAYS if kept.hides(*one)] == []
    assert [one for one in PLACES if kept.hides(*one)] == ([] if places else PLACES)
    assert [one for one in SERIALS if kept.hides(*one)] == (SERIALS if camera is not CameraKept.ALL else [])
    assert [one for one in CAMERAS if kept.hides(*one)] == (CAMERAS if camera is CameraKept.NONE else [])


def test_a_gold_master_of_the_usual_settings_is_made_as_before() -> None:
    assert KeptTags().words == ""
    assert len({KeptTags(places, camera).words for places in (True, False) for camera in CameraKept}) == 6
