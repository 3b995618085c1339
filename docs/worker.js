/* Search in a page that was opened from a file, where browsers allow no workers: an
   invisible frame runs the worker's script in its place. */
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(address) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = `<script src="${address}"></script>`;
      this.frame = new Promise((loaded) => {
        frame.addEventListener("load", () => loaded(frame.contentWindow));
      });
      this.frame.then((inner) => {
        inner.postMessage = (data) =>
          this.dispatchEvent(new MessageEvent("message", { data }));
      });
      document.body.append(frame);
    }
    postMessage(data) {
      this.frame.then((inner) =>
        inner.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
  window.Worker = window.IFrameWorker;
}
