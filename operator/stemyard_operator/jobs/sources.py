"""Environment, volumes and mounts of a fetch pod for the sources that this deployment allows. Pure."""

from typing import Any, Final

from stemyard_operator.config.settings import Settings

_COOKIES: Final = "youtube-cookies"
_COOKIES_FOLDER: Final = "/var/run/secrets/stemyard-youtube"
_COOKIES_KEY: Final = "cookies.txt"
_PROXY_KEY: Final = "proxyUrl"
_PROXY: Final = "youtube-proxy"
_PROXY_FOLDER: Final = "/var/run/secrets/stemyard-proxy"
_PRIVATE: Final = "private"
_PRIVATE_FOLDER: Final = "/run/stemyard"
_PRIVATE_SIZE: Final = "1Mi"
_OVERLAY: Final = "ytdlp"
_OVERLAY_FOLDER: Final = "/ytdlp"


def source_environment(settings: Settings) -> list[dict[str, Any]]:
    """Return the environment variables of a fetch container, without those that have their default."""
    values = {
        "STEMYARD_YOUTUBE_PO_TOKEN_URL": settings.youtube_po_token_url,
        "STEMYARD_YOUTUBE_REQUEST_INTERVAL": _changed(settings, "youtube_request_interval"),
        "STEMYARD_YOUTUBE_DOWNLOAD_DELAY": _changed(settings, "youtube_download_delay"),
        "STEMYARD_YOUTUBE_DOWNLOAD_DELAY_MAX": _changed(settings, "youtube_download_delay_max"),
        "STEMYARD_EXTRACTORS": ",".join(settings.youtube_extractors),
    }
    if _has_overlay(settings):
        values["STEMYARD_YOUTUBE_OVERLAY"] = _OVERLAY_FOLDER
        values["STEMYARD_YOUTUBE_OVERLAY_LEAST"] = settings.youtube_overlay_least
        values["STEMYARD_YOUTUBE_OVERLAY_GREATEST"] = settings.youtube_overlay_greatest
    if settings.youtube_cookies_secret:
        values["STEMYARD_YOUTUBE_COOKIES"] = f"{_COOKIES_FOLDER}/{_COOKIES_KEY}"
        values["STEMYARD_PRIVATE_DIR"] = _PRIVATE_FOLDER
    variables: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items() if value]
    if settings.youtube_proxy_secret and settings.secrets_as_files:
        variables.append({"name": "STEMYARD_YOUTUBE_PROXY_FILE", "value": f"{_PROXY_FOLDER}/{_PROXY_KEY}"})
    elif settings.youtube_proxy_secret:
        # not optional: without its proxy a pod would expose the cluster's own address
        key = {"name": settings.youtube_proxy_secret, "key": _PROXY_KEY}
        variables.append({"name": "STEMYARD_YOUTUBE_PROXY", "valueFrom": {"secretKeyRef": key}})
    return variables


def _changed(settings: Settings, name: str) -> str | None:
    value = getattr(settings, name)
    return None if value == Settings.model_fields[name].default else f"{value:g}"


def _has_overlay(settings: Settings) -> bool:
    return bool(settings.youtube_overlay_image or settings.youtube_overlay_claim)


def source_volumes(settings: Settings, pull_policy: str) -> list[dict[str, Any]]:
    """Return the volumes of a fetch pod: cookies, a memory volume for the copy that yt-dlp rewrites, a newer yt-dlp."""
    volumes: list[dict[str, Any]] = []
    if settings.youtube_cookies_secret:
        # optional: the separator reports a missing cookie file better than a pod that never starts
        secret = {
            "secretName": settings.youtube_cookies_secret,
            "items": [{"key": _COOKIES_KEY, "path": _COOKIES_KEY}],
            "defaultMode": 0o440,
            "optional": True,
        }
        memory = {"medium": "Memory", "sizeLimit": _PRIVATE_SIZE}
        volumes += [{"name": _COOKIES, "secret": secret}, {"name": _PRIVATE, "emptyDir": memory}]
    if settings.youtube_proxy_secret and settings.secrets_as_files:
        items = [{"key": _PROXY_KEY, "path": _PROXY_KEY}]
        proxy = {"secretName": settings.youtube_proxy_secret, "items": items, "defaultMode": 0o440}
        volumes.append({"name": _PROXY, "secret": proxy})
    if settings.youtube_overlay_image:
        image = {"reference": settings.youtube_overlay_image, "pullPolicy": pull_policy}
        volumes.append({"name": _OVERLAY, "image": image})
    elif settings.youtube_overlay_claim:
        claim = {"claimName": settings.youtube_overlay_claim, "readOnly": True}
        volumes.append({"name": _OVERLAY, "persistentVolumeClaim": claim})
    return volumes


def source_mounts(settings: Settings) -> list[dict[str, Any]]:
    """Return the mounts of these volumes in a fetch container."""
    mounts: list[dict[str, Any]] = []
    if settings.youtube_cookies_secret:
        mounts += [
            {"name": _COOKIES, "mountPath": _COOKIES_FOLDER, "readOnly": True},
            {"name": _PRIVATE, "mountPath": _PRIVATE_FOLDER},
        ]
    if settings.youtube_proxy_secret and settings.secrets_as_files:
        mounts.append({"name": _PROXY, "mountPath": _PROXY_FOLDER, "readOnly": True})
    if _has_overlay(settings):
        mounts.append({"name": _OVERLAY, "mountPath": _OVERLAY_FOLDER, "readOnly": True})
    return mounts
