"""The command line of `partyline data`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from adapters.data.progress import progress
from config.settings import Settings


def add_to(commands: Any) -> None:
    """Adds `data` and its own commands to a parser; each sets `work`, an async function."""
    data = commands.add_parser("data", help="backup, restore, export, erase or vacuum what is kept")
    kinds = data.add_subparsers(required=True, metavar="WHAT")
    backup = kinds.add_parser("backup", help="copy the database; the bot may run")
    restore = kinds.add_parser("restore", help="put a backup in the place of the database; the bot must not run")
    export = kinds.add_parser("export", help="everything that is kept of a person, as JSON")
    erase = kinds.add_parser("erase", help="erase everything that is kept of a person; the bot may run")
    vacuum = kinds.add_parser("vacuum", help="give the space of what was deleted back to the disk; the bot may run")
    for parser in (export, erase):
        parser.add_argument(
            "person", metavar="PERSON", help="such as telegram:4711; with all ids that are linked to it"
        )
    for parser, usual in (
        (backup, "beside the database, with the date"),
        (restore, "the newest backup beside the database"),
        (export, "partyline-data.json"),
    ):
        parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help=f"default: {usual}")
    for parser in (restore, erase):
        parser.add_argument("--yes", action="store_true", help="do not ask")
    for parser, work in ((backup, _backup), (restore, _restore), (export, _export), (erase, _erase), (vacuum, _vacuum)):
        parser.set_defaults(work=work)


async def _backup(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.data import files, server
    from adapters.storage.database.address import parse_address

    address = parse_address(settings.database)
    beside = address.path or Path("partyline.pgdump")
    target = options.file or await asyncio.to_thread(files.unused, beside, "backup")
    with progress("Backing up") as tick:
        if address.path:
            await asyncio.to_thread(files.backup, address.path, target, tick)
        else:
            await asyncio.to_thread(server.backup, address, target, tick)
    print(f"The backup is {target}.")
    return 0


async def _restore(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.data import files, server
    from adapters.storage.database.address import parse_address

    address = parse_address(settings.database)
    newest = await asyncio.to_thread(files.newest_backup, address.path) if address.path else None
    source = options.file or newest
    if source is None:
        print("partyline: no backup was found; name the file", file=sys.stderr)
        return 2
    if not _sure(options, f"Replace {address.where} by {source}?"):
        return 2
    before = None
    with progress("Restoring") as tick:
        if address.path:
            before = await asyncio.to_thread(files.restore, source, address.path, tick)
        else:
            await asyncio.to_thread(server.restore, address, source, tick)
    print(f"{address.where} is as it was in {source}." + (f" What was there before is in {before}." if before else ""))
    return 0


async def _export(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.data.people import export
    from adapters.terminal.channel import save
    from bots.people.privacy import FILE_NAME

    with progress("Exporting") as tick:
        data = await export(settings.database, options.person, tick)
        file = options.file or Path(FILE_NAME)
        path = await asyncio.to_thread(save, file.parent, file.name, data)
    print(f"Everything that is kept of {options.person} is in {path}.")
    return 0


async def _erase(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.data.people import erase

    if not _sure(options, f"Erase everything of {options.person} and the ids linked to it?"):
        return 2
    with progress("Erasing") as tick:
        people = await erase(settings.database, options.person, tick)
    print(f"Nothing is kept any more of {', '.join(people)}.")
    return 0


async def _vacuum(options: argparse.Namespace, settings: Settings) -> int:
    from adapters.data import files, server
    from adapters.storage.database.address import parse_address

    address = parse_address(settings.database)
    with progress("Tidying") as tick:
        if address.path:
            before, after = await asyncio.to_thread(files.vacuum, address.path, tick)
        else:
            await asyncio.to_thread(server.vacuum, address, tick)
    print(f"{before / 1024:,.0f} kB became {after / 1024:,.0f} kB." if address.path else "The tables are tidy.")
    return 0


def _sure(options: argparse.Namespace, question: str) -> bool:
    if options.yes:
        return True
    if not sys.stdin.isatty():
        print(f"partyline: {question} Add --yes to do it.", file=sys.stderr)
        return False
    return input(f"{question} Write yes: ").strip().lower() == "yes"
