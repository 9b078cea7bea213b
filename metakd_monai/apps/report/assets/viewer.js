"use strict";
(() => {
  const view = JSON.parse(document.getElementById("view").textContent);
  const form = document.getElementById("controls");
  const canvas = document.getElementById("canvas");
  const place = document.getElementById("place");
  const status = document.getElementById("status");
  const HEADER = 352; // bytes of NIfTI-1 before the voxels
  const volumes = {}; // unpacked NIfTI files by name
  let niivue, viewer, image, mask, uncertainty;

  async function unzip(text) {
    const letters = atob(text);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  // Turn differences to the mean of the neighbours before a voxel into its value.
  async function unpack(text) {
    const file = await unzip(text);
    const header = new DataView(file);
    const nx = header.getInt16(42, true);
    const nxy = nx * header.getInt16(44, true);
    const packed = new Uint8Array(file, HEADER);
    const values = new Uint8Array(nxy + packed.length); // zeros first, for neighbours that are not there
    for (let i = 0, j = nxy; i < packed.length; i++, j++)
      values[j] = packed[i] + Math.floor((values[j - 1] + values[j - nx] + values[j - nxy]) / 3);
    packed.set(values.subarray(nxy));
    return file;
  }

  const load = async (name, colours) => {
    const made = await niivue.NVImage.new(volumes[name], name + ".nii", colours);
    made.cal_min = made.global_min = 0;
    return made;
  };

  const redraw = () => { viewer.updateGLVolume(); };

  function showSequence() {
    image.img = new Uint8Array(volumes[form.sequence.value], HEADER);
    image.cal_max = Math.max(1, view.levels * form.brightest.value / 100);
    redraw();
  }

  function showMask() {
    const shown = new Set([...form.querySelectorAll("[name=part]:checked")].map((box) => Number(box.value)));
    mask.img = new Uint8Array(volumes.labels, HEADER).map((label) => shown.has(label) ? label : 0);
    const opacity = form.opacity.value / 100;
    mask.opacity = form.outline.checked ? Math.min(opacity, 0.001) : opacity;
    viewer.opts.atlasOutline = form.outline.checked ? opacity : 0;
    redraw();
  }

  function showUncertainty() {
    uncertainty.opacity = form.uncertainty.checked ? form.uncertaintyOpacity.value / 100 : 0;
    redraw();
  }

  function showView() {
    viewer.setSliceType(Number(form.planes.value));
    const cut = form.cut.value / 100;
    viewer.setClipPlane([cut > 0 ? 0.9 - 1.4 * cut : 2, 270, 0]);
  }

  function moveCrosshair() {
    viewer.scene.crosshairPos = ["x", "y", "z"].map((axis) => Number(form[axis].value));
    viewer.createOnLocationChange();
    viewer.drawScene();
  }

  // What lies under the crosshair, in words; the sliders follow the mouse.
  function tell(location) {
    ["x", "y", "z"].forEach((axis, n) => { form[axis].value = location.frac[n]; });
    const at = (name) => location.values.find((value) => value.name === name + ".nii").value;
    const sides = [["right", "left"], ["front", "back"], ["up", "down"]];
    const millimetres = sides.map(([ahead, behind], axis) => {
      const length = Math.round(location.mm[axis]);
      return `${Math.abs(length)} mm ${length < 0 ? behind : ahead}`;
    });
    const words = [millimetres.join(", "), view.labels[at("labels")] || "no tumour"];
    if (uncertainty) words.push(`uncertainty ${(at("uncertainty") / view.bits).toFixed(2)} bit`);
    place.textContent = words.join("; ");
  }

  function start() {
    ["x", "y", "z"].forEach((axis, n) => { form[axis].value = viewer.mm2frac(view.centre)[n]; });
    showSequence();
    showMask();
    if (uncertainty) showUncertainty();
    showView();
    moveCrosshair();
  }

  function listen() {
    const actions = { sequence: showSequence, brightest: showSequence, part: showMask, opacity: showMask, outline: showMask,
      uncertainty: showUncertainty, uncertaintyOpacity: showUncertainty, planes: showView, cut: showView,
      x: moveCrosshair, y: moveCrosshair, z: moveCrosshair };
    form.addEventListener("input", (event) => actions[event.target.name]());
    form.addEventListener("reset", () => setTimeout(start));
    form.addEventListener("submit", (event) => event.preventDefault());
    addEventListener("beforeprint", () => {
      viewer.drawScene();
      document.getElementById("snapshot").src = canvas.toDataURL();
    });
  }

  async function run() {
    if (!document.createElement("canvas").getContext("webgl2")) throw new Error("this browser has no WebGL 2");
    const code = document.createElement("script");
    code.textContent = new TextDecoder().decode(await unzip(document.getElementById("niivue").textContent));
    document.head.append(code);
    niivue = globalThis.niivue;
    for (const [name, text] of Object.entries({ ...view.images, ...view.maps })) volumes[name] = await unpack(text);
    viewer = new niivue.Niivue({ isRadiologicalConvention: true, multiplanarShowRender: 1, multiplanarLayout: 2,
      crosshairWidth: 0.5,
      crosshairColor: [0.3, 0.7, 1, 0.9], dragAndDropEnabled: false, clipPlaneColor: [0, 0, 0, 0], show3Dcrosshair: true, logLevel: "error" });
    await viewer.attachToCanvas(canvas);
    image = await load(view.first, "gray");
    mask = await load("labels", "gray");
    mask.setColormapLabel(view.colours);
    uncertainty = view.maps.uncertainty ? await load("uncertainty", "hot") : null;
    if (uncertainty) { uncertainty.cal_min = view.bits / 10; uncertainty.cal_max = view.bits; }
    viewer.onLocationChange = tell;
    for (const volume of [image, uncertainty, mask]) if (volume) viewer.addVolume(volume);
    listen();
    start();
    status.remove();
    document.documentElement.dataset.ready = "true";
  }

  run().catch((error) => {
    status.textContent = `The images cannot be shown: ${error.message}. The pictures and figures below need no viewer.`;
    console.error(error);
  });
})();
