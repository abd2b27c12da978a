"""The cut list of a source video as a file: `/api/cutlist/ID?form=fcpxml&only=approved`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from urllib.parse import quote

from starlette.responses import Response

from heaters_dagster.domain.cut_list_media import MediaKind
from heaters_dagster.domain.cut_lists import Verdict
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.registries import CUT_LIST_FORMATS
from resources.clips.clips_zip import file_name
from resources.clips.cut_list_writer import CutListChoices, stored_cut_list
from review_app.server.served import FRESH
from review_app.service.review_desk import ReviewDesk


def cut_list_answer(desk: ReviewDesk, source_video_id: int, *, form: str, only: Sequence[str]) -> Response:
    """The list, which names the original by its name alone: the editor's machine is another one. In several parts it is a zip.

    Raises UnknownNameError, BadRequestError, NotFoundError.
    """
    unknown = [word for word in only if word not in set(Verdict)]
    if unknown:
        raise BadRequestError(f"only can be {', '.join(Verdict)}, not {unknown[0][:40]!r}")
    chosen = CUT_LIST_FORMATS.load(form)
    video = desk.videos.load(source_video_id)
    media = MediaKind.ORIGINAL if video.original_filepath else MediaKind.PROXY
    choices = CutListChoices(media=media, only=frozenset(map(Verdict, only)), names_alone=True)
    texts = stored_cut_list(source_video_id, form, choices, database=desk.database, settings=desk.settings, objects=desk.objects).texts
    # Lists of other clips have other names, so that one in a folder of downloads is not taken for the other.
    title = " ".join([file_name(video.title), *(word for word in Verdict if word in only)])
    names = chosen.file_names(title, len(texts))
    data, name, media_type = texts[0].encode(), names[0], "application/octet-stream"
    if len(texts) > 1:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for part, text in zip(names, texts, strict=True):
                archive.writestr(part, text)
        data, name, media_type = packed.getvalue(), f"{title} {form}.zip", "application/zip"
    named = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    return Response(data, media_type=media_type, headers={**FRESH, **named})
