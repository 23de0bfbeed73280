// The image on a canvas: zoom, pan, window and level, invert, one mark. Knows nothing of the study.

const MOST_ZOOM = 16;

export class Viewer {
  // report(text): zoom, window, level; marked(x, y): a click or tap, as shares of width and height
  constructor(stage, canvas, { report, marked }) {
    Object.assign(this, { stage, canvas, report, marked });
    this.pen = canvas.getContext("2d");
    this.picture = null; // offscreen canvas with window, level and inversion applied
    this.mark = null;
    this.cross = null; // where the keyboard's cross is while a mark is being set
    this.windowing = false;
    this.pointers = new Map();
    this.reset();
    new ResizeObserver(() => this.resize()).observe(stage);
    this.listen();
  }

  show(bitmap) {
    this.width = bitmap.width;
    this.height = bitmap.height;
    this.picture = new OffscreenCanvas(this.width, this.height);
    const pen = this.picture.getContext("2d", { willReadFrequently: true });
    pen.drawImage(bitmap, 0, 0);
    this.pixels = pen.getImageData(0, 0, this.width, this.height);
    this.greys = new Uint8Array(this.width * this.height);
    for (let i = 0; i < this.greys.length; i++) this.greys[i] = this.pixels.data[4 * i];
    this.mark = this.cross = null;
    this.reset();
  }

  reset() {
    this.fitted = true;
    this.inverted = false;
    this.range = 255;
    this.level = 127.5;
    this.resize();
    this.tone();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.stage.clientWidth * ratio);
    this.canvas.height = Math.round(this.stage.clientHeight * ratio);
    if (!this.picture) return;
    if (this.fitted) this.fit();
    else this.draw();
  }

  // Scale is in device pixels for each pixel of the image: 1 is true pixel.
  get fitScale() {
    return Math.min(this.canvas.width / this.width, this.canvas.height / this.height);
  }

  fit() {
    if (!this.picture) return;
    this.fitted = true;
    this.scale = this.fitScale;
    this.x = (this.canvas.width - this.width * this.scale) / 2;
    this.y = (this.canvas.height - this.height * this.scale) / 2;
    this.draw();
  }

  truePixel() {
    this.zoomTo(1);
  }

  zoomBy(factor, x, y) {
    if (this.picture) this.zoomTo(this.scale * factor, x, y);
  }

  zoomTo(wanted, x = this.canvas.width / 2, y = this.canvas.height / 2) {
    if (!this.picture) return;
    const scale = Math.min(MOST_ZOOM, Math.max(Math.min(1, this.fitScale) / 2, wanted));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  move(dx, dy) {
    if (!this.picture) return;
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.draw();
  }

  changeWindow(range, level) {
    this.range = Math.min(510, Math.max(2, this.range + range));
    this.level = Math.min(255, Math.max(0, this.level + level));
    this.tone();
  }

  invert() {
    this.inverted = !this.inverted;
    this.tone();
  }

  tone() {
    if (!this.picture) return;
    const table = new Uint8ClampedArray(256);
    for (let grey = 0; grey < 256; grey++) {
      const value = ((grey - this.level) / this.range + 0.5) * 255;
      table[grey] = this.inverted ? 255 - Math.min(255, Math.max(0, value)) : value;
    }
    const data = this.pixels.data;
    for (let i = 0; i < this.greys.length; i++) {
      data[4 * i] = data[4 * i + 1] = data[4 * i + 2] = table[this.greys[i]];
    }
    this.picture.getContext("2d").putImageData(this.pixels, 0, 0);
    this.draw();
  }

  draw() {
    if (!this.picture) return;
    // Some of the image stays in sight.
    const keep = 40;
    this.x = Math.min(this.canvas.width - keep, Math.max(keep - this.width * this.scale, this.x));
    this.y = Math.min(this.canvas.height - keep, Math.max(keep - this.height * this.scale, this.y));
    const pen = this.pen;
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const exact = this.scale === 1;
    pen.imageSmoothingEnabled = !exact;
    pen.imageSmoothingQuality = "high";
    const left = exact ? Math.round(this.x) : this.x;
    const top = exact ? Math.round(this.y) : this.y;
    pen.drawImage(this.picture, left, top, this.width * this.scale, this.height * this.scale);
    if (this.mark) this.drawMark(this.mark, "#f2b84b", false);
    if (this.cross) this.drawMark(this.cross, "#7fd1ff", true);
    const window = this.range === 255 && this.level === 127.5 ? "" : ` · W ${Math.round(this.range)} L ${Math.round(this.level)}`;
    this.report(`${Math.round(this.scale * 100)}%${window}`);
  }

  drawMark([x, y], colour, dashed) {
    const pen = this.pen;
    const ratio = window.devicePixelRatio || 1;
    const cx = this.x + x * this.width * this.scale;
    const cy = this.y + y * this.height * this.scale;
    const line = (radius, from, to) => {
      pen.beginPath();
      if (radius) pen.arc(cx, cy, radius * ratio, 0, 2 * Math.PI);
      else for (const [a, b] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        pen.moveTo(cx + a * from * ratio, cy + b * from * ratio);
        pen.lineTo(cx + a * to * ratio, cy + b * to * ratio);
      }
      pen.stroke();
    };
    for (const [style, width] of [["#000", 4], [colour, 2]]) {
      pen.strokeStyle = style;
      pen.lineWidth = width * ratio;
      pen.setLineDash(dashed ? [5 * ratio, 4 * ratio] : []);
      line(14);
      pen.setLineDash([]);
      line(0, 5, 22);
    }
  }

  setMark(mark) {
    this.mark = mark;
    this.cross = null;
    this.draw();
  }

  beginCross() {
    this.cross = this.mark ? [...this.mark] : [0.5, 0.5];
    this.draw();
  }

  moveCross(dx, dy) {
    this.cross = [Math.min(1, Math.max(0, this.cross[0] + dx)), Math.min(1, Math.max(0, this.cross[1] + dy))];
    this.draw();
  }

  endCross() {
    this.cross = null;
    this.draw();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  listen() {
    const stage = this.stage;
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
      this.zoomBy(Math.exp(-Math.max(-200, Math.min(200, lines)) / 400), ...this.place(event));
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.place(event));
      this.travelled = this.pointers.size > 1 ? Infinity : 0;
      this.right = event.button === 2;
    });
    stage.addEventListener("pointermove", (event) => {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const now = this.place(event);
      const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
      const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      this.pointers.set(event.pointerId, now);
      if (others.length) {
        const other = others[0];
        const distance = (at) => Math.max(1, Math.hypot(at[0] - other[0], at[1] - other[1]));
        this.zoomBy(distance(now) / distance(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
        this.move(dx / 2, dy / 2);
        return;
      }
      this.travelled += Math.hypot(dx, dy);
      if (this.travelled < 5 * (window.devicePixelRatio || 1)) return;
      if (this.right || this.windowing) this.changeWindow(dx / 2, -dy / 2);
      else this.move(dx, dy);
    });
    const lift = (event) => {
      const at = this.pointers.get(event.pointerId);
      this.pointers.delete(event.pointerId);
      const still = this.travelled < 5 * (window.devicePixelRatio || 1);
      if (!at || !still || this.right || !this.picture || event.type !== "pointerup") return;
      const x = (at[0] - this.x) / (this.width * this.scale);
      const y = (at[1] - this.y) / (this.height * this.scale);
      if (x >= 0 && x <= 1 && y >= 0 && y <= 1) this.marked(x, y);
    };
    stage.addEventListener("pointerup", lift);
    stage.addEventListener("pointercancel", lift);
  }
}
