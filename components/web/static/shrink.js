// Images are made smaller here before they leave: less to send, and where a photo was taken
// (EXIF) stays at home with it. What is small already is sent as it is, so that the model sees
// the very pixels; a browser that reads a format we do not take turns it into JPEG.
const LONGEST_PX = 1600; // far above what any model here looks at
const SMALL_BYTES = 1_000_000;
const TAKEN = ["image/jpeg", "image/png", "image/webp"];
const THUMBNAIL_PX = 112;

async function decoded(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error("this is no image that your browser can read; choose a photo");
  }
}

function drawn(bitmap, longest, background) {
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = background;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

export async function shrunk(file, mostBytes) {
  const bitmap = await decoded(file);
  const isSmall = file.size <= SMALL_BYTES && Math.max(bitmap.width, bitmap.height) <= LONGEST_PX;
  if (isSmall && TAKEN.includes(file.type)) {
    bitmap.close();
    return file;
  }
  // JPEG knows no transparency; the server puts it on white, too.
  const canvas = drawn(bitmap, LONGEST_PX, "#fff");
  bitmap.close();
  const image = await new Promise((give) => canvas.toBlob(give, "image/jpeg", 0.92));
  if (!image || image.size > mostBytes) throw new Error("this image is too large");
  return image;
}

export async function thumbnail(image) {
  const bitmap = await decoded(image);
  const canvas = drawn(bitmap, THUMBNAIL_PX, "#fff");
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.7);
}
