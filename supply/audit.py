"""`python -m supply.audit FILE...`: known vulnerabilities of what the files lock.

Trusts pip-audit only where it audited every locked package and its source of vulnerabilities knows
an old one: pip-audit passes where it looked at nothing. Arguments behind `--` go to
pip-audit, such as `--vulnerability-service osv --osv-url URL` for another source.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

# CVE-2024-3651: a source that does not report it for this release knows nothing.
_CANARY: Final = "idna==3.6 --hash=sha256:" + "0" * 64
_LOCKED: Final = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)

Package = tuple[str, str]
Report = dict[str, Any]


class AuditFailed(Exception):
    """The audit could not be made; says why."""


def read_locked(files: list[Path]) -> set[Package]:
    """Return name and version of every package in locked requirement files."""
    return {
        (canonicalize_name(name), version)
        for file in files
        for name, version in _LOCKED.findall(file.read_text())
    }


def judge(report: Report, locked: set[Package]) -> list[str]:
    """Return what is wrong: a package that was not audited, and every known vulnerability."""
    audited = {
        (canonicalize_name(package["name"]), package["version"]): package["vulns"]
        for package in report["dependencies"]
        if "vulns" in package
    }
    if not locked:
        return ["no package is locked in these files"]
    missing = [f"{name} {version}: not audited" for name, version in sorted(locked - set(audited))]
    return missing + [
        f"{name} {version}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version'}"
        for (name, version), vulnerabilities in sorted(audited.items())
        for vulnerability in vulnerabilities
    ]


def run_pip_audit(files: list[Path], options: list[str]) -> Report:
    """Run pip-audit over locked files and return its report.

    Raises AuditFailed where it gives none, as without its source of vulnerabilities.
    """
    chosen = [argument for file in files for argument in ("--requirement", str(file))]
    command = [sys.executable, "-m", "pip_audit", "--strict", "--require-hashes", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", *chosen, *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        report: Report = json.loads(done.stdout)
    except ValueError as error:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise AuditFailed(f"pip-audit gave no report; it said: {said[-1]}") from error
    return report


def check_source(options: list[str]) -> None:
    """Raise AuditFailed where the source does not know an old vulnerability."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary.txt"
        canary.write_text(_CANARY + "\n")
        report = run_pip_audit([canary], options)
    if not any(package.get("vulns") for package in report["dependencies"]):
        raise AuditFailed("the source of vulnerabilities does not know CVE-2024-3651 of idna 3.6")


def main(arguments: list[str]) -> int:
    """Audit the files; 0 only where all was audited and nothing was found."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    files, options = [Path(name) for name in arguments[:cut]], arguments[cut + 1 :]
    try:
        check_source(options)
        locked = read_locked(files)
        wrong = judge(run_pip_audit(files, options), locked)
    except AuditFailed as error:
        print(f"error: nothing was audited: {error}.", file=sys.stderr)
        return 2
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print(f"{len(locked)} packages audited, no known vulnerability.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
