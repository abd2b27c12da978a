"""The container and codec matrix: shapes, pixels, sounds, company and times, and all rows together."""

from __future__ import annotations

from fractions import Fraction

from tests.media.matrix_containers import CONTAINERS
from tests.media.matrix_recipes import (
    FRAMES,
    KEPT,
    RATE,
    SECONDS,
    VARIED,
    X264,
    Encoded,
    channels,
    copied,
    flash_with_times,
    from_second_keyframe,
    heard,
    joined,
    shifted,
    silent,
    turned,
    varied,
    with_company,
    with_edits,
)
from tests.media.matrix_row import (
    AFTER,
    BEFORE,
    COLOURS,
    COLOURS_IN_FOURS,
    COLOURS_OF_ONE,
    HALF_CLEAR,
    HDR,
    HIDDEN,
    INTERLACED,
    MPEG2,
    OVERLAP,
    QUIET,
    TONE_MAPPED,
    TWICE,
    VARIED_TIMES,
    VP9,
    WMA_BLOCK,
    X265,
    Row,
    at,
    retimed,
    scaled,
)

SHAPES = (
    Row(
        "one frame with its sound",
        "a.mp4",
        heard(f"{X264} -vf trim=end_frame=1 -c:a aac -t 0.3"),
        frames=[0],
        hears=(0.0, 0.3),
        colours=COLOURS_OF_ONE,
        warnings=(AFTER,),
    ),
    Row("one frame", "a.mkv", silent(f"{X264} -frames:v 1"), frames=[0], colours=COLOURS_OF_ONE, **QUIET),
    Row("odd size, 4:4:4", "a.mp4", silent(f"{X264} {scaled(65, 49)} -pix_fmt yuv444p"), warnings=("^pictures of 65x49 pixels",), **QUIET),
    Row("odd size, 4:2:0", "a.webm", silent(f"{VP9} {scaled(65, 49)}"), warnings=("^pictures of 65x49 pixels",), **QUIET),
    Row("wide pixels", "a.mkv", silent(f"{X264} -vf setsar=16/11"), pixel_shape=Fraction(16, 11), **QUIET),
    Row(
        "wide pixels, turned",
        "a.mov",
        turned("-display_rotation", "90", of="wide"),
        size=(48, 64),
        pixel_shape=Fraction(11, 16),
        clockwise=270,
    ),
    Row("turned by 90 degrees", "a.mp4", turned("-display_rotation", "-90"), size=(48, 64), clockwise=90),
    Row("turned by 180 degrees", "a.mov", turned("-display_rotation", "180"), clockwise=180),
    Row("turned by 270 degrees", "a.mkv", turned("-display_rotation", "90"), size=(48, 64), clockwise=270),
    Row("mirrored", "a.mp4", turned("-display_hflip"), mirrored=True),
    Row("mirrored and turned", "a.mp4", turned("-display_rotation", "90", "-display_hflip"), size=(48, 64), clockwise=90, mirrored=True),
    Row(
        "interlaced H.264, top field first", "a.mp4", heard(f"{X264} -vf setfield=tff -flags +ildct+ilme -c:a aac"), warnings=(INTERLACED,)
    ),
    Row(
        "interlaced MPEG-2, bottom field first",
        "a.ts",
        heard(f"{MPEG2} -vf setfield=bff -flags +ildct+ilme -c:a mp2"),
        channels=2,
        warnings=(INTERLACED,),
    ),
    Row("interlaced ProRes", "a.mov", silent("-c:v prores_ks -vf setfield=tff -flags +ildct"), warnings=(INTERLACED,), **QUIET),
    Row("open groups of pictures", "a.mp4", heard("-c:v libx264 -x264-params open-gop=1:keyint=8:bframes=3:scenecut=0 -c:a aac")),
    Row("open groups of pictures, HEVC", "a.mkv", silent(X265.replace("keyint=12", "keyint=8:open-gop=1")), **QUIET),
    Row("the smallest picture", "a.nut", silent("-vf scale=2:2 -c:v rawvideo -pix_fmt yuv420p"), size=(2, 2), colours=None, **QUIET),
)

PIXELS = (
    Row("H.264 of 10 bits", "a.mp4", silent(f"{X264} -pix_fmt yuv420p10le"), **QUIET),
    Row("H.264, 4:2:2 of 10 bits", "a.mkv", silent(f"{X264} -pix_fmt yuv422p10le"), **QUIET),
    Row("H.264, RGB", "a.mp4", silent("-c:v libx264rgb -preset veryfast -pix_fmt rgb24"), compared_as="gbrp", **QUIET),
    Row("H.264, grey", "a.mp4", silent(f"{X264} -pix_fmt gray"), colours=None, **QUIET),
    Row("H.264, full range", "a.mp4", silent(f"{X264} -vf scale=out_range=full -pix_fmt yuvj420p"), **QUIET),
    Row("full range of 10 bits", "a.mkv", silent(f"{X264} -vf scale=out_range=full -pix_fmt yuv420p10le -color_range pc"), **QUIET),
    Row("HEVC of 12 bits", "a.mkv", silent(f"{X265} -pix_fmt yuv420p12le"), **QUIET),
    Row("HEVC, 4:4:4 of 12 bits", "a.mp4", silent(f"{X265} -pix_fmt yuv444p12le"), **QUIET),
    Row("HEVC, RGB", "a.mkv", silent(f"{X265} -pix_fmt gbrp"), compared_as="gbrp", **QUIET),
    Row("PQ", "a.mp4", silent(f"{X265} -vf {HDR}smpte2084"), colours=None, warnings=(TONE_MAPPED,), **QUIET),
    Row("HLG", "a.mkv", silent(f"{X265} -vf {HDR}arib-std-b67"), colours=None, warnings=(TONE_MAPPED,), **QUIET),
    Row("VP9, 4:4:4", "a.webm", silent(f"{VP9} -pix_fmt yuv444p"), **QUIET),
    Row("VP9, 4:2:2 of 12 bits", "a.webm", silent(f"{VP9} -pix_fmt yuv422p12le"), **QUIET),
    Row(
        "VP8 with alpha",
        "a.webm",
        heard(f"-c:v libvpx -deadline realtime -cpu-used 8 -b:v 2M -auto-alt-ref 0 {HALF_CLEAR} -c:a libopus"),
        decoder="libvpx",
    ),
    Row("VP9 with alpha", "a.webm", heard(f"{VP9} -pix_fmt yuva420p -auto-alt-ref 0 {HALF_CLEAR} -c:a libvorbis"), decoder="libvpx-vp9"),
    Row("ProRes 4444 with alpha", "a.mov", silent("-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le"), **QUIET),
    Row("QuickTime Animation with alpha", "a.mov", silent("-c:v qtrle -pix_fmt argb"), compared_as="argb", **QUIET),
    Row("PNG with alpha", "a.mov", silent("-c:v png -pix_fmt rgba"), compared_as="rgba", **QUIET),
    Row("CineForm, RGB of 12 bits", "a.mov", silent("-c:v cfhd -pix_fmt gbrp12le"), **QUIET),
    Row("MagicYUV, RGB", "a.avi", silent("-c:v magicyuv -pix_fmt gbrp"), compared_as="gbrp", **QUIET),
    Row("raw RGB in AVI", "a.avi", silent("-c:v rawvideo -pix_fmt bgr24"), compared_as="bgr24", **QUIET),
    Row("uncompressed 4:2:2 of 10 bits", "a.mov", silent("-c:v v210"), **QUIET),
    Row("uncompressed RGB of 10 bits", "a.mov", silent("-c:v r210"), **QUIET),
    *(
        Row(
            f"raw {name}",
            "a.nut",
            silent(f"-frames:v 12 -c:v rawvideo -pix_fmt {name}"),
            frames=range(12),
            compared_as=compared_as,
            colours=COLOURS_IN_FOURS if name == "yuv410p" else None if name in {"pal8", "monow", "gray", "gray16be", "ya8"} else COLOURS,
            **QUIET,
        )
        for name, compared_as in {
            "nv12": "nv12",
            "uyvy422": "uyvy422",
            "yuyv422": "yuyv422",
            "rgb24": "rgb24",
            "gbrp10le": "",
            "rgb48le": "rgb48le",
            "gray": "",
            "gray16be": "gray16be",
            "ya8": "ya8",
            "pal8": "bgra",
            "monow": "monow",
            "rgb565le": "rgb24",
            "rgb555le": "rgb24",
            "bgr0": "rgb24",
            "0rgb": "rgb24",
            "yuva420p": "",
            "yuv411p": "",
            "yuv410p": "",
            "yuv420p16be": "yuv420p16be",
        }.items()
    ),
    Row(
        "raw XYZ of 12 bits",
        "a.nut",
        silent("-frames:v 12 -c:v rawvideo -pix_fmt xyz12le"),
        frames=range(12),
        colours=None,
        refused_master="would not be lossless: frame 0 shows another picture",
        **QUIET,
    ),
    Row(
        "raw floats",
        "a.nut",
        silent("-frames:v 12 -c:v rawvideo -pix_fmt gbrpf32le"),
        frames=range(12),
        refused_master="its pictures consist of floating-point numbers",
        **QUIET,
    ),
)

SOUNDS = (
    *(
        Row(
            f"sound {layout}",
            "a.mkv",
            heard(f"-c:v mpeg4 -q:v 2 -c:a {codec} {channels(layout, count)}"),
            channels=2,
            warnings=(f"^{count} sound channels",) if count > 2 else (),
        )
        for layout, count, codec in (
            ("stereo", 2, "aac"),
            ("2.1", 3, "flac"),
            ("3.0", 3, "pcm_s16le"),
            ("quad", 4, "libvorbis"),
            ("4.0", 4, "aac"),
            ("5.0", 5, "ac3"),
            ("5.1", 6, "libopus"),
            ("6.1", 7, "flac"),
            ("7.1", 8, "aac"),
            ("7.1.2", 10, "wavpack"),
        )
    ),
    *(
        Row(
            f"sound {layout}",
            "a.mov",
            heard(f"-c:v mpeg4 -q:v 2 -c:a pcm_s16le {channels(layout, count)}"),
            channels=min(count, 2),
            warnings=(f"^{count} sound channels",) if count > 2 else (),
        )
        for layout, count in (("FL", 1), ("LFE", 1), ("FC+LFE", 2), ("22.2", 24))
    ),
    Row("E-AC-3 of 5.1", "a.mp4", heard(f"{X264} -c:a eac3 {channels('5.1', 6)}"), channels=2, warnings=("^6 sound channels",)),
    *(Row(f"sound of {rate} Hz", "a.mov", heard(f"-c:v mpeg4 -q:v 2 -c:a pcm_s16le -ar {rate}")) for rate in (11025, 32000, 96000, 192000)),
    Row("no sound", "a.webm", silent(VP9), **QUIET),
    Row(
        "two sounds, the second is the default",
        "a.mkv",
        Encoded(
            f"-map 0:v -map 1:a -map 1:a -t {SECONDS} {X264} -c:a flac -filter:a:0 volume=0 -disposition:a:0 0 -disposition:a:1 default"
        ),
        sounds=2,
        used_sound=1,
    ),
    Row(
        "three sounds of different kinds",
        "a.mkv",
        Encoded(f"-map 0:v -map 1:a -map 1:a -map 1:a -t {SECONDS} {X264} -c:a:0 aac -c:a:1 ac3 -c:a:2 flac -ar:a:2 44100"),
        sounds=3,
    ),
    *(
        Row(
            f"sound begins late in {suffix.upper()}",
            f"a.{suffix}",
            heard(f"{video} -af atrim=start=0.5 -c:a {audio}"),
            hears=(0.5 + (audio == "wmav2") * WMA_BLOCK / 48_000, SECONDS),
            channels=sides,
        )
        for suffix, video, audio, sides in (
            ("mp4", X264, "aac", 1),
            ("mkv", X264, "libopus", 1),
            ("ts", X264, "aac", 2),
            ("flv", X264, "aac", 1),
            ("mpg", MPEG2, "mp2", 2),
            ("wmv", "-c:v wmv2 -q:v 2", "wmav2", 1),
        )
    ),
    *(
        Row(
            f"picture begins late in {suffix.upper()}",
            f"a.{suffix}",
            heard(f"{video} -vf trim=start_frame=8 {KEPT} -c:a {audio}"),
            frames=range(8, FRAMES),
            channels=sides,
            warnings=(BEFORE,),
        )
        for suffix, video, audio, sides in (
            ("mp4", X264, "aac", 1),
            ("mkv", X264, "flac", 1),
            ("webm", VP9, "libopus", 1),
            ("ts", X264, "mp2", 2),
            ("flv", X264, "aac", 1),
            ("mov", "-c:v prores_ks", "pcm_s16le", 1),
        )
    ),
    *(
        Row(
            f"sound begins below 0 in {suffix.upper()}",
            f"a.{suffix}",
            heard(
                f"{X264} -vf trim=start_frame=8,setpts=PTS-1/3/TB -af asetpts=PTS-1/3/TB {KEPT} -c:a {audio} -avoid_negative_ts disabled"
            ),
            frames=range(8, FRAMES),
            hears=(heard_from, SECONDS),
        )
        for suffix, audio, heard_from in (("mp4", "aac", 1 / 3), ("mov", "pcm_s16le", 1 / 3))
    ),
    Row(
        "picture and sound begin below 0",
        "a.mp4",
        heard(f"{X264} -vf setpts=PTS-1/3/TB -af asetpts=PTS-1/3/TB {KEPT} -c:a aac -avoid_negative_ts disabled"),
        frames=range(8, FRAMES),
        hears=(1 / 3, SECONDS),
        warnings=(HIDDEN,),
    ),
    Row("sound ends early", "a.mp4", heard(f"{X264} -af atrim=end=0.7 -c:a aac"), hears=(0.0, 0.7)),
    Row("sound ends late", "a.mkv", heard(f"{X264} -vf trim=end_frame=24 -c:a libopus"), frames=range(24), warnings=(AFTER,)),
)

COMPANY = (
    Row("an MP4 with sound alone", "a.mp4", Encoded("-map 1:a -t 0.5 -c:a aac"), refused=r"^a\.mp4 has no video stream: it is sound only$"),
    Row(
        "a song with cover art",
        "a.mp4",
        Encoded("-map 1:a -map 0:v -t 0.5 -c:a aac -c:v mjpeg -vf trim=end_frame=1 -disposition:v attached_pic"),
        refused=r"^a\.mp4 has no video stream \(only cover art\): it is sound only$",
    ),
    Row("cover art, subtitles, chapters and a font in MKV", "company.mkv", with_company),
    Row("cover art, subtitles, chapters and a time code in MOV", "company.mov", with_company),
    Row("cover art, subtitles and chapters in MP4", "company.mp4", with_company),
)

TIMES = (
    Row("variable frame rate in MP4", "a.mp4", varied(f"{X264} -c:a aac"), **VARIED_TIMES),
    Row("variable frame rate in MKV", "a.mkv", varied(f"{X264} -c:a flac"), **VARIED_TIMES),
    Row("variable frame rate in WebM", "a.webm", varied(f"{VP9} -c:a libopus"), **VARIED_TIMES),
    Row("variable frame rate in MOV", "a.mov", varied("-c:v prores_ks -c:a pcm_s16le"), **VARIED_TIMES),
    Row("variable frame rate in FLV", "a.flv", varied(f"{X264} -c:a aac"), **VARIED_TIMES),
    Row("variable frame rate in TS", "a.ts", varied(f"{X264} -c:a aac"), channels=2, **VARIED_TIMES),
    Row(
        "variable frame rate in WMV",
        "a.wmv",
        varied("-c:v wmv2 -q:v 2 -c:a wmav2"),
        **VARIED_TIMES | {"hears": (WMA_BLOCK / 48_000, VARIED[-1] + 1 / RATE)},
    ),
    Row("variable frame rate in GIF", "a.gif", Encoded(f"-map 2:v {KEPT}"), recorded=VARIED.__getitem__, colours=None, **QUIET),
    Row("23.976 frames a second", "a.mp4", heard(f"{X264} {retimed('24000/1001')} -c:a aac"), recorded=at(Fraction(24000, 1001))),
    # FFmpeg leaves out the rest of frame 14, with which the list begins: frame 15 comes 25 ms after the sound.
    Row(
        "an edit list that begins within a frame",
        "a.mp4",
        copied("-ss 0.6"),
        frames=range(15, FRAMES),
        hears=(0.6, SECONDS),
        warnings=(HIDDEN,),
    ),
    Row(
        "an edit list of two parts",
        "a.mov",
        with_edits((0.0, 0.5), (1.0, 1.5)),
        frames=[*range(12), *range(24, 36)],
        closed_up=True,
        unheard=2,
        warnings=(HIDDEN, OVERLAP),
    ),
    Row("an edit list that begins empty", "a.mov", with_edits((-0.5, 0.0), (0.0, 1.5))),
    Row("hours late in MP4", "a.mp4", heard(f"{X264} -c:a aac -output_ts_offset 7200")),
    Row("hours late in MKV", "a.mkv", heard(f"{X264} -c:a flac -output_ts_offset 180000")),
    Row("hours late in TS", "a.ts", heard(f"{X264} -c:a aac -output_ts_offset 36000"), channels=2),
    Row("hours late in FLV", "a.flv", flash_with_times(lambda t: t + 36_000)),
    Row("a TS clock that overflows on the way", "a.ts", heard(f"{X264} -c:a aac -output_ts_offset 95441.5"), channels=2),
    Row("an MPG clock that overflows on the way", "a.mpg", heard(f"{MPEG2} -c:a mp2 -output_ts_offset 95442.5"), channels=2),
    Row(
        "a TS clock that begins anew",
        "a.ts",
        joined(heard(f"{MPEG2} -c:a mp2"), heard(f"{MPEG2} -c:a mp2")),
        frames=TWICE,
        closed_up=True,
        channels=2,
        unheard=2,
        warnings=("^its clock jumps", OVERLAP),
    ),
    Row(
        "an MPG clock that begins anew",
        "a.mpg",
        joined(heard(f"{MPEG2} -c:a mp2"), heard(f"{MPEG2} -c:a mp2")),
        frames=TWICE,
        closed_up=True,
        channels=2,
        unheard=2,
        warnings=("^its clock jumps", OVERLAP),
    ),
    Row(
        "a TS clock that goes forward by hours",
        "a.ts",
        joined(heard(f"{MPEG2} -c:a mp2"), heard(f"{MPEG2} -c:a mp2 -output_ts_offset 20000")),
        frames=TWICE,
        closed_up=True,
        channels=2,
        unheard=2,
        warnings=("^its clock jumps", OVERLAP),
    ),
    Row(
        "an FLV clock that goes forward by hours",
        "a.flv",
        flash_with_times(lambda t: t + 36_000 if t >= 0.999 else t),
        unheard=1,
        warnings=("^its clock jumps",),
    ),
    Row(
        "an FLV clock that goes back",
        "a.flv",
        flash_with_times(lambda t: t if t >= 0.999 else t + 100),
        unheard=1,
        warnings=("^its clock jumps",),
    ),
    Row(
        "an MKV clock that goes forward by hours",
        "a.mkv",
        shifted("both", lambda number, t: t + 3 * 3600 if t >= 0.75 else t),
        unheard=1,
        warnings=("^its clock jumps .*forward by 3.0 hours",),
    ),
    Row(
        "an MKV clock that goes back",
        "a.mkv",
        shifted("both", lambda number, t: t - 2.2 if t >= 0.75 else t),
        unheard=1,
        warnings=("^its clock jumps .*back by 2.2 s",),
    ),
    Row(
        "one frame hours late",
        "a.mkv",
        shifted("video", lambda number, t: t + 3 * 3600 if number == 18 else t),
        warnings=("^1 frame has a wrong time, by up to 3.0 hours",),
    ),
    Row(
        "the picture's clock alone goes forward",
        "a.mkv",
        shifted("video", lambda number, t: t + 3 * 3600 if t >= 0.75 else t),
        warnings=("^its clock jumps",),
    ),
    Row(
        "a recording that begins within an open group",
        "a.ts",
        from_second_keyframe(heard("-c:v libx264 -x264-params open-gop=1:keyint=12:bframes=3:scenecut=0 -c:a aac")),
        frames=range(12, FRAMES),
        channels=2,
        warnings=("^damaged: ", BEFORE),
    ),
    Row(
        "many frames at one moment",
        "a.mkv",
        silent(f"{X264} -vf setpts=N/2500/TB {KEPT}"),
        recorded=at(2500),
        within_seconds=0.001,
        colours=COLOURS_OF_ONE,  # so short frames get few bits
        warnings=("^some frames have the time of the frame before them",),
        **QUIET,
    ),
)

ROWS = (*CONTAINERS, *SHAPES, *PIXELS, *SOUNDS, *COMPANY, *TIMES)

#: Those of which the clip that is encoded from the gold master is the end, from a master in a bucket.
REMOTE = frozenset(
    {
        "MP4: H.264 with B-frames, AAC",
        "an edit list that begins within a frame",
        "hours late in MKV",
        "picture begins late in MP4",
        "three sounds of different kinds",
        "variable frame rate in MKV",
    }
)
