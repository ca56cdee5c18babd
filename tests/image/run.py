"""Builds the service image, runs it as docker-compose.yml says, and checks it from in- and outside.

Needs a Docker engine with compose and buildx; run it as `make image-test`. With --all it builds the
two large images as well.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from checking import CheckFailed, check
from engine import ROOT, SERVICE, CommandFailed, find_engine, run, write_override
from production import PRODUCTION, check_production
from project import Project
from proxy import check_proxy
from upload import Upload, radiograph, ready_status

BUILD_TIMEOUT_S = 1500
TRAINING_TIMEOUT_S = 600
HEALTHY_WITHIN_S = 30
UPLOAD_ENDS_AFTER_S = 5  # later than XPRO_DRAIN_S, sooner than XPRO_SHUTDOWN_S
STOP_GRACE_S = 35
MIB = 1 << 20


def check_build(project):
    started = time.monotonic()
    project.compose("build", timeout_s=BUILD_TIMEOUT_S)
    check(True, "docker compose build", f"{time.monotonic() - started:.0f} s")
    check(True, "image size", image_size(project.image))


def check_start(project):
    started = time.monotonic()
    project.compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "90")
    seconds = time.monotonic() - started
    health = project.container("{{.State.Health.Status}}")
    check(health == "healthy" and seconds <= HEALTHY_WITHIN_S, "healthy after", f"{seconds:.1f} s")


def check_inside(project):
    script = Path(__file__).with_name("inside.py").read_text()
    facts = json.loads(project.compose("exec", "--no-TTY", SERVICE, "python", "-", input=script))
    ids = {number for one in facts["uids"] + facts["gids"] for number in one}
    check("0" not in ids, "user and group are not root", ", ".join(ids))
    check(facts["root_read_only"], "root file system is read-only")
    errors = facts["write_errors"]
    check(errors.pop("/tmp") == "", "/tmp can be written", facts["tmp"])
    check(set(errors.values()) == {"EROFS"}, "writing elsewhere fails", errors)
    check(not any(facts["cap_eff"] + facts["cap_bnd"]), "no capability is left, nor can be gained")
    check(set(facts["no_new_privs"]) == {"1"}, "no new privileges")
    check_limits(facts)
    check(not facts["tensorflow"], "no TensorFlow is inside")
    check(facts["app"] == ["contract", "models", "service"], "/app holds", facts["app"])
    check(facts["bundled"], "the bundle inside the image verifies", facts["bundled"])
    check_settings(project, facts["settings"])


def check_limits(facts):
    memory = int(facts["memory"]) / MIB
    check(memory == 4096, "memory is limited", f"{memory:.0f} MiB")
    check(facts["cores"] == 2, "cores are limited", facts["cores"])
    check(facts["pids"] == "512", "processes are limited", facts["pids"])


def check_settings(project, settings):
    production = Project(project.override, PRODUCTION)  # it passes what the other does, and more
    config = json.loads(production.compose("config", "--format", "json"))
    passed = config["services"][SERVICE]["environment"].keys()
    fixed = {"XPRO_HOST", "XPRO_PORT"}
    check(set(settings) == passed | fixed, "compose passes every setting", len(passed))


def check_answers(project, data, name):
    published = project.compose("port", SERVICE, "8000")
    check(published == f"127.0.0.1:{project.port}", "published on", published)
    status, text = Upload(project.port, data).finish()
    check_prediction(status, text, f"POST /predict of {name}")


def check_prediction(status, text, what):
    check(status == 200, what, f"{status}" if status == 200 else f"{status} {text[:500]}")
    check(len(json.loads(text)["probabilities"]) == 14, "14 probabilities")


def check_stop(project, data):
    """Stop the container while half an upload is in: it is answered, then all ends with 0."""
    upload = Upload(project.port, data)
    upload.send_half()
    time.sleep(0.5)
    started = time.monotonic()
    stopping = subprocess.Popen(
        project.command("stop"), cwd=ROOT, env=project.environment, stderr=subprocess.DEVNULL
    )
    try:
        check_unready(project.port, started)
        time.sleep(max(0.0, started + UPLOAD_ENDS_AFTER_S - time.monotonic()))
        check(ready_status(project.port) is None, "new requests are no longer accepted")
        check(stopping.poll() is None, "the container still runs for the request under way")
        check_prediction(*upload.finish(), "the request under way while stopping")
        stopping.wait(STOP_GRACE_S + 10)
    finally:
        stopping.kill()
        stopping.wait()
    state = project.container("{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}")
    check(state == "exited 0 false", "exit code 0", f"after {time.monotonic() - started:.1f} s")


def check_unready(port, started):
    status = ready_status(port)
    while status == 200 and time.monotonic() < started + UPLOAD_ENDS_AFTER_S:
        time.sleep(0.05)
        status = ready_status(port)
    check(status == 503, "draining: /health/ready answers", status)


def check_own_bundle(project, empty):
    """A folder given with XPRO_MODEL_VOLUME is what is served, so an empty one is refused."""
    environment = {**project.environment, "XPRO_MODEL_VOLUME": str(empty)}
    asked = subprocess.run(
        project.command("run", "--rm", "--no-TTY", SERVICE),
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    refused = [line for line in asked.stderr.splitlines() if "refused" in line]
    check(asked.returncode == 3 and refused, "a folder without bundle", " ".join(refused))


def check_gone(project):
    project.compose("down", "--volumes", "--remove-orphans")
    left = project.leftovers()
    check(not any(left.values()), "nothing is left of", ", ".join(left))


def check_other_builds(override, project):
    """The training target trains, and TensorFlow comes in when asked for."""
    container = ("docker", "run", "--rm", "--network=none", "--cap-drop=ALL", project.image)
    size = build_other(override, project, "--target=training")
    command = ("train", "--data", "drawn", "--profile", "smoke", "--out", "smoke")
    run(*container, *command, timeout_s=TRAINING_TIMEOUT_S)
    check(True, "training image: trains the smoke profile", size)
    size = build_other(override, project, "--build-arg=WITH_TENSORFLOW=1")
    code = (
        "from service.model import load_model; from service.settings import Settings; "
        "print(load_model(Settings(engine='tensorflow')).engine.name)"
    )
    loaded = run(*container, "python", "-c", code)
    check(loaded == "tensorflow", "service image with TensorFlow: replays golden examples", size)


def build_other(override, project, *options):
    """Build what compose does not: with buildx, from the same override. Returns the size."""
    description = json.loads(override.read_text())
    network = description["services"][SERVICE]["build"].get("network", "default")
    command = [
        "docker",
        "buildx",
        "build",
        "--load",
        "--tag",
        project.image,
        f"--network={network}",
    ]
    for name, file in description["secrets"].items():
        command += ["--secret", f"id={name},src={file['file']}"]
    project.remove_image()
    run(*command, *options, ".", timeout_s=BUILD_TIMEOUT_S)
    return image_size(project.image)


def image_size(image):
    size = int(run("docker", "image", "inspect", "--format", "{{.Size}}", image))
    return f"{size / 1e6:.0f} MB"


def check_service(project, empty):
    name, data = radiograph()
    check_build(project)
    check_start(project)
    check_inside(project)
    check_answers(project, data, name)
    check_stop(project, data)
    check_own_bundle(project, empty)
    check_gone(project)


def run_checks(folder, everything):
    override, empty = folder / "override.json", folder / "empty"
    empty.mkdir()
    write_override(override)
    project = Project(override)
    try:
        check_service(project, empty)
        check_production(project.image, override, folder, radiograph()[1])
        check_proxy(project.image, override, folder, radiograph()[1])
        if everything:
            check_other_builds(override, project)
    except BaseException:
        print(project.logs(), file=sys.stderr)
        raise
    finally:
        project.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="build the two large images as well")
    everything = parser.parse_args().all
    # Ends as an exception, so that what was started is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not any(ROOT.glob("models/xpro-demo/*/saved_model.pb")):
        sys.exit("models/xpro-demo holds no bundle; the service image needs one.")
    find_engine()
    with tempfile.TemporaryDirectory(prefix="x-pro-image-test-") as folder:
        try:
            run_checks(Path(folder), everything)
        except (CheckFailed, CommandFailed, subprocess.TimeoutExpired) as error:
            sys.exit(f"FAILED {error}")
    print("all checks passed")


if __name__ == "__main__":
    main()
