"""How long the live page takes in Chromium, beside PyTorch on the same machine.

    python -m benchmarks.web [--sizes 256x256 512x384 1024x768] [--repeats 3]

For each size: the first result (WebAssembly compiled, network loaded, one measurement of ‖DSD₂‖ and
‖DSD₄‖ at four layers) and the median of later ones, with one thread and with as many as the page
uses on an isolated site; PyTorch with one thread and with all; and the memory of the browser's
process for the page. The page is served from this machine, so no download counts.
"""

import argparse
import functools
import http.server
import shutil
import subprocess
import threading
import time
from statistics import median

import torch

import dsd_lib as dsd
from data_scripts.shared.assets import TRY

LAYERS = ("relu1_2", "relu2_1", "relu2_2", "relu3_1")
PAGE = b'<!doctype html><title>t</title><script src="/try/try.js"></script>'
PARTS = ("resize", "pixels", "distort", "descriptor", "networks", "worker", "engine")
MEASURE = """async ([height, width, repeats, parts]) => {
    await Promise.all(parts.map((name) => DSDTry.script(`parts/${name}.js`)));
    const engine = DSDTry.use("engine");
    const data = Float32Array.from({ length: 3 * height * width }, () => Math.random());
    const seconds = [];
    for (let i = 0; i <= repeats; i++) {
        const began = performance.now();
        await engine.measure({ height, width, data });
        seconds.push((performance.now() - began) / 1000);
    }
    return [await engine.runtime(), seconds];
}"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """The files of the live page; below ``/isolated`` a page that may use threads."""

    def do_GET(self) -> None:
        """Answer with the bare page or a file."""
        if self.path.startswith("/try/"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if self.path == "/isolated":
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def memory(tab: object) -> float:
    """The largest resident memory of a renderer of this browser so far, in MB."""
    client = tab.context.browser.new_browser_cdp_session()
    processes = client.send("SystemInfo.getProcessInfo")["processInfo"]
    sizes = []
    for process in processes:
        if process["type"] == "renderer":
            command = ["grep", "VmHWM", f"/proc/{process['id']}/status"]
            found = subprocess.run(command, capture_output=True, text=True)
            sizes += [int(found.stdout.split()[1]) / 1000] if found.returncode == 0 else []
    return max(sizes, default=float("nan"))


def in_browser(
    address: str, size: tuple[int, int], repeats: int
) -> tuple[int, float, float, float]:
    """Threads, seconds to the first result, median seconds of later ones, and MB."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((path for name in names if (path := shutil.which(name))), None)
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(address)
        threads, (first, *later) = tab.evaluate(MEASURE, [*size, repeats, list(PARTS)])
        used = memory(tab)
        browser.close()
    return threads, first, median(later), used


@torch.no_grad()
def in_torch(size: tuple[int, int], repeats: int, threads: int) -> float:
    """Median seconds of the same in PyTorch, the full image's pass shared by both α."""
    torch.set_num_threads(threads)
    net, x = dsd.load_backbone("vgg16"), torch.rand(1, 3, *size)
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        fine, *coarse = (
            {k: dsd.gram_matrix(f) for k, f in net(z, LAYERS, check_range=False).items()}
            for z in (x, dsd.imresize(x, scale=1 / 2), dsd.imresize(x, scale=1 / 4))
        )
        [(fine[k] - g[k]).abs().mean().item() for g in coarse for k in LAYERS]
        seconds.append(time.perf_counter() - began)
    return median(seconds[1:])


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["256x256", "512x384", "1024x768"])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    cores = torch.get_num_threads()
    handler = functools.partial(Handler, directory=str(TRY.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = f"http://127.0.0.1:{server.server_port}"
        print(f"{'size':>10}  {'where':30}{'first s':>9}{'later s':>9}{'/ torch':>9}{'MB':>7}")
        for text in arguments.sizes:
            width, height = map(int, text.split("x"))
            size = (height, width)
            for kind, count in (("plain", 1), ("isolated", cores)):
                seconds = in_torch(size, arguments.repeats, count)
                print(f"{text:>10}  {f'PyTorch, threads: {count}':30}{'':9}{seconds:9.2f}{1:9.1f}")
                threads, first, later, used = in_browser(f"{site}/{kind}", size, arguments.repeats)
                where = f"Chromium, threads: {threads}"
                ratio = later / seconds
                print(f"{text:>10}  {where:30}{first:9.2f}{later:9.2f}{ratio:9.1f}{used:7.0f}")
        server.shutdown()


if __name__ == "__main__":
    main()
