// Counts the buffers of a device, whoever makes them.
export function count(gpu: GPUDevice) {
  const made = { sum: 0, live: 0 }; // bytes
  const create = gpu.createBuffer.bind(gpu);
  gpu.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    const { size } = descriptor;
    made.sum += size;
    made.live += size;
    const destroy = buffer.destroy.bind(buffer);
    let isThere = true;
    buffer.destroy = () => {
      if (isThere) made.live -= size;
      isThere = false;
      return destroy();
    };
    return buffer;
  };
  return made;
}
