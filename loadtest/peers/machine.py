"""What the measurements were taken on."""
import datetime
import glob
import os
import platform
import subprocess


def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def field(text, name):
    lines = (line for line in text.splitlines() if line.startswith(name))
    return next(lines, ":").split(":", 1)[1].strip()


def git(root, *arguments):
    done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def describe(root, versions, descriptors):
    cpuinfo = read("/proc/cpuinfo")
    mitigations = {os.path.basename(path): read(path) for path in glob.glob("/sys/devices/system/cpu/vulnerabilities/*")}
    siblings = read("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    load = os.getloadavg()[0]
    warnings = []
    if load > 0.5:
        warnings.append(f"the machine was busy before the run (load {load:.1f}): the figures are worth little")
    if siblings and siblings != "0":
        warnings.append(f"core 0 shares its execution units with another ({siblings})")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": field(cpuinfo, "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in field(cpuinfo, "flags").split(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "none",
        "mitigations": mitigations,
        "descriptors": descriptors,
        "load_before": load,
        "commit": git(root, "rev-parse", "--short=12", "HEAD") + ("+" if git(root, "status", "--porcelain") else ""),
        "versions": versions,
        "warnings": warnings,
    }
