"""What a person should know before downloads begin to fail: yt-dlp is old, its solver or a plug-in is broken, a sign-in ends."""

from __future__ import annotations

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.sources.site_access import SiteAccess
from resources.sources.ytdlp_release import installed


def web_site_problems(database: Database, settings: Settings) -> list[str]:
    """Sentences with what to do; none when all is well. Nothing is fetched."""
    from resources.sources import ytdlp_plugins
    from resources.sources.guarded_ytdlp import solver_told

    found = []
    release = installed()
    if release.is_old:
        found.append(f"Sites change, so downloads may fail, or come in poor quality. {release.advice}")
    try:
        if settings.ytdlp_plugins is not None:
            ytdlp_plugins.use_plugins(settings.ytdlp_plugins)
            found += [f"A plug-in of yt-dlp cannot be used: {one}" for one in ytdlp_plugins.problems(settings.ytdlp_plugins)]
        solver_told()
    except HeatersError as error:
        found.append(str(error))
    return [*found, *SiteAccess(database, settings).problems()]
