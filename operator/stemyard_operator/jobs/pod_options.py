"""What a profile's options add to a Job's pod template. Pure."""

from typing import Any, Final

from stemyard_operator.config.pod_options import PodOptions

_READ_ONLY_FIELD: Final = frozenset({"persistentVolumeClaim", "csi"})
"""Volume types that can be made read-only as a whole; the others are, or are by their mounts."""


def pod_fields(options: PodOptions, image_pull_secrets: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a pod's spec; `image_pull_secrets` are the deployment's."""
    names = dict.fromkeys([*image_pull_secrets, *options.image_pull_secrets])
    aliases = [alias.model_dump() for alias in options.host_aliases]
    dns = options.dns_config.model_dump(exclude_defaults=True) if options.dns_config else {}
    fields = {"hostAliases": aliases, "dnsPolicy": options.dns_policy, "dnsConfig": dns}
    set_fields = {name: value for name, value in fields.items() if value}
    return {**set_fields, "imagePullSecrets": [{"name": name} for name in names]}


def extra_volumes(options: PodOptions) -> list[dict[str, Any]]:
    """Return the extra volumes, read-only where their type says so."""
    return [
        {name: {**source, "readOnly": True} if name in _READ_ONLY_FIELD else source for name, source in volume.items()}
        for volume in options.extra_volumes
    ]


def extra_mounts(options: PodOptions) -> list[dict[str, Any]]:
    """Return the mounts of the extra volumes."""
    return [
        {
            "name": mount.name,
            "mountPath": mount.mount_path,
            **({"subPath": mount.sub_path} if mount.sub_path else {}),
            "readOnly": True,
        }
        for mount in options.extra_volume_mounts
    ]
