// Images are made smaller here before they leave: less to send, and where a photo was taken
// stays at home. What is small already keeps its very pixels; a format that a browser reads
// and we do not take becomes JPEG.
import { withoutMetadata } from "./jpeg.js";

const LONGEST_PX = 1600; // far above what any model here looks at
const SMALL_BYTES = 1_000_000;
const KEPT = ["image/png", "image/webp"];
const THUMBNAIL_PX = 112;

async function decoded(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error("this is no image that your browser can read; choose a photo");
  }
}

function drawn(bitmap, longest) {
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // JPEG knows no transparency; the model's own road takes white, too
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

async function untouched(file, bitmap) {
  if (file.size > SMALL_BYTES || Math.max(bitmap.width, bitmap.height) > LONGEST_PX) return null;
  if (file.type === "image/jpeg") return withoutMetadata(file);
  return KEPT.includes(file.type) ? file : null;
}

export async function shrunk(file, mostBytes) {
  const bitmap = await decoded(file);
  const small = await untouched(file, bitmap);
  if (small) {
    bitmap.close();
    return small;
  }
  const canvas = drawn(bitmap, LONGEST_PX);
  bitmap.close();
  const image = await new Promise((give) => canvas.toBlob(give, "image/jpeg", 0.92));
  if (!image || image.size > mostBytes) throw new Error("this image is too large");
  return image;
}

export async function thumbnail(image) {
  const bitmap = await decoded(image);
  const canvas = drawn(bitmap, THUMBNAIL_PX);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.7);
}
