// A JPEG without what it says about itself: where and by whom it was taken, captions, previews.
// The pixels stay as they are; colour profile and Adobe's transform belong to them.
const START_OF_SCAN = 0xda;
const DROPPED = new Set([0xe1, 0xed, 0xfe]); // Exif and XMP, IPTC, comments
const ORIENTATION = 0x0112;

// Returns a Blob; null: the metadata turn the image, or it is no JPEG that we understand.
export async function withoutMetadata(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const view = new DataView(bytes.buffer);
  const parts = [bytes.subarray(0, 2)];
  for (let at = 2; at + 4 <= bytes.length; ) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff) return null;
    if (marker === START_OF_SCAN) {
      return new Blob([...parts, bytes.subarray(at)], { type: "image/jpeg" });
    }
    const end = at + 2 + view.getUint16(at + 2);
    if (end > bytes.length) return null;
    if (marker === 0xe1 && orientation(view, at + 4, end) > 1) return null;
    if (!DROPPED.has(marker)) parts.push(bytes.subarray(at, end));
    at = end;
  }
  return null;
}

// Reads Exif's tag of a segment's content; 1: upright, or not told.
function orientation(view, start, end) {
  if (end - start < 14 || view.getUint32(start) !== 0x45786966) return 1; // "Exif"
  const tiff = start + 6;
  const isLittle = view.getUint16(tiff) === 0x4949;
  const first = tiff + view.getUint32(tiff + 4, isLittle);
  if (first + 2 > end) return 1;
  const count = view.getUint16(first, isLittle);
  for (let entry = first + 2; entry < first + 2 + 12 * count && entry + 12 <= end; entry += 12) {
    if (view.getUint16(entry, isLittle) === ORIENTATION) return view.getUint16(entry + 8, isLittle);
  }
  return 1;
}
