// Draws an occlusion map over the part of the image that the model saw.
const WARM = [226, 74, 32];
const COOL = [38, 110, 200];
const LEAST = 0.005; // of a probability; less is what rounding leaves, and would be drawn as loud

// Returns whether any place matters; where none does, nothing is drawn of the map.
export function drawHeat(canvas, picture, { map, area }) {
  canvas.width = picture.naturalWidth;
  canvas.height = picture.naturalHeight;
  const context = canvas.getContext("2d");
  context.fillStyle = "rgba(120, 120, 120, 0.55)"; // what the model never saw
  context.fillRect(0, 0, canvas.width, canvas.height);
  const [left, top, width, height] = [
    area[0] * canvas.width, area[1] * canvas.height, area[2] * canvas.width, area[3] * canvas.height,
  ];
  context.clearRect(left, top, width, height);
  const most = Math.max(...map.flat().map(Math.abs));
  if (most < LEAST) return false;
  const small = document.createElement("canvas"); // one pixel a place; scaling makes it smooth
  small.width = map[0].length;
  small.height = map.length;
  const pixels = small.getContext("2d").createImageData(small.width, small.height);
  map.flat().forEach((drop, place) => {
    pixels.data.set([...(drop > 0 ? WARM : COOL), 190 * (Math.abs(drop) / most)], 4 * place);
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  context.drawImage(small, left, top, width, height);
  return true;
}
