"""Where the backups are, for the commands that read them; keys are never printed.

Fails with `CommandError`.
"""

import argparse
from pathlib import Path

from components.cli.asking import seed_in
from components.cli.errors import CommandError
from components.cli.stack_options import home_of, settings_of
from components.gateway.settings import BACKUP_PREFIX, BackupSettings, check_backup
from components.process import exits
from components.process.settings import InvalidSettings, load
from components.stack import running


def backup_settings(options: argparse.Namespace) -> BackupSettings | None:
    """The bucket that ``MODBOT_BACKUP_*`` names, else that of the stack running on this machine;
    None where there is neither."""
    try:
        given = check_backup(load(BackupSettings, BACKUP_PREFIX))
    except InvalidSettings as error:
        raise CommandError(str(error), exits.CONFIG) from error
    if given.bucket:
        return given
    stack = running.read(Path(home_of(options)).resolve())
    if stack is None:
        return None
    return BackupSettings(
        bucket=settings_of(options).s3_bucket,
        endpoint=stack.urls["s3"],
        access_key=seed_in(Path(stack.credentials["s3_access_key"])),
        secret_key=seed_in(Path(stack.credentials["s3_secret_key"])),
    )


def backup_required(options: argparse.Namespace) -> BackupSettings:
    """The same, or `CommandError`."""
    settings = backup_settings(options)
    if settings is None:
        raise CommandError(
            "no backup is known: set MODBOT_BACKUP_BUCKET (and MODBOT_BACKUP_ENDPOINT, "
            "MODBOT_BACKUP_ACCESS_KEY_FILE, MODBOT_BACKUP_SECRET_KEY_FILE), or name the folder of "
            "a running stack with --home"
        )
    return settings
