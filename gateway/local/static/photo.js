// Shrinks a phone's photo: redrawn as a JPEG of at most 96 KiB. Nothing else of the file is sent.

const LARGEST = 96 * 1024;           // the gateway's limit, bytes
const MOST_PIXELS = 50_000_000;      // more could exceed a phone's memory: 4 bytes each while drawing
const HEAD = 1 << 20;                // the size of a JPEG is within its first bytes
const SIDES = [1280, 960, 640], QUALITIES = [0.8, 0.6, 0.4];

// Returns {jpeg: base64, canvas}, or null if it is not a photo or too large.
export async function shrunk(file) {
  const pixels = sizeOf(new DataView(await file.slice(0, HEAD).arrayBuffer()));
  if (!pixels || pixels > MOST_PIXELS) return null;
  const picture = await createImageBitmap(file).catch(() => null);
  if (!picture) return null;
  for (const side of SIDES) {
    const canvas = drawn(picture, side);
    for (const quality of QUALITIES) {
      const blob = await new Promise(done => canvas.toBlob(done, 'image/jpeg', quality));
      if (blob && blob.size <= LARGEST) {
        picture.close();
        return {jpeg: await base64(blob), canvas};
      }
    }
  }
  picture.close();
  return null;
}

function drawn(picture, side) {
  const scale = Math.min(1, side / Math.max(picture.width, picture.height)), canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// Width times height from the frame header of a JPEG (ITU-T T.81, B.2.2); 0: not a JPEG.
function sizeOf(view) {
  if (view.byteLength < 4 || view.getUint16(0) !== 0xFFD8) return 0;
  for (let at = 2; at + 9 <= view.byteLength;) {
    const kind = view.getUint8(at + 1);
    if (view.getUint8(at) !== 0xFF) return 0;
    if (kind === 0xFF) at += 1;
    else if (kind >= 0xC0 && kind <= 0xCF && ![0xC4, 0xC8, 0xCC].includes(kind)) return view.getUint16(at + 5) * view.getUint16(at + 7);
    else at += 2 + view.getUint16(at + 2);
  }
  return 0;
}

const base64 = blob => new Promise(done => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.split(',')[1]);
  reader.readAsDataURL(blob);
});
