// The public API, nothing but exports.
export { compile } from './exec/compile.ts';
export { trim } from './exec/replay.ts';
export { defaultDevice, type RunOptions, run, setDevice } from './exec/run.ts';
export { formatTrace, setTrace, type TraceEvent } from './exec/trace.ts';
export { Device, type DeviceChoice, DeviceLost } from './gpu/device.ts';
export type { AdapterChoice, AdapterDescription } from './gpu/host.ts';
export { OutOfMemory } from './gpu/pool.ts';
export { type CachedModel, cache } from './io/cache.ts';
export type { ChatOptions, Message } from './io/chat-template.ts';
export { openCheckpoint } from './io/checkpoint.ts';
export { tokenizer_image_token } from './io/conversation.ts';
export type { Progress } from './io/download.ts';
export { UserError } from './io/error.ts';
export type { HubOptions } from './io/hub-folder.ts';
export type { FromPretrained } from './io/pretrained.ts';
export { saveSafetensors, writeSafetensors } from './io/safetensors.ts';
export type { Tap } from './io/taps.ts';
export { AutoencoderKL } from './models/autoencoder-kl.ts';
export { CLIPModel, CLIPTextModel, CLIPVisionModel } from './models/clip.ts';
export { LlamaForCausalLM } from './models/llama.ts';
export { LlavaMetaForCausalLM, type MultimodalInputs } from './models/llava-original.ts';
export { MistralForCausalLM } from './models/mistral.ts';
export { OutputProjector } from './models/output-projector.ts';
export { SiglipModel, SiglipTextModel, SiglipVisionModel } from './models/siglip.ts';
export { UNet2DConditionModel } from './models/unet-2d-condition.ts';
export * from './ops/index.ts';
export {
  AutoModel,
  AutoModelForCausalLM,
  AutoModelForImageFeatureExtraction,
  AutoModelForImageTextToText,
  AutoProcessor,
  AutoTokenizer,
  LlavaForConditionalGeneration,
} from './tasks/auto.ts';
export { type DoctorOptions, doctor, type Health } from './tasks/doctor.ts';
export type { GenerateOptions } from './tasks/generation-config.ts';
export { type Algorithm, Generator } from './tasks/generator.ts';
export type { FeatureOptions, ImageFeatureExtractor } from './tasks/image-feature-extraction.ts';
export type {
  ImagePrompt,
  ImageTextGenerator,
  ImageTextInput,
  MessagePart,
  VisionMessage,
} from './tasks/image-text-to-text.ts';
export { LlavaProcessor } from './tasks/llava-processor.ts';
export { load_image } from './tasks/load-image.ts';
export { make_image_grid, Picture } from './tasks/picture.ts';
export { pipeline } from './tasks/pipeline.ts';
export {
  DDIMInverseScheduler,
  DDIMScheduler,
  DPMSolverMultistepScheduler,
  EulerAncestralDiscreteScheduler,
  EulerDiscreteScheduler,
  LCMScheduler,
  PNDMScheduler,
  type Scheduler,
  type StepOptions,
  type StepOutput,
} from './tasks/schedulers/index.ts';
export type { Check } from './tasks/self-test.ts';
export { type Answer, Session, type TextOptions } from './tasks/session.ts';
export {
  type DiffusionOptions,
  type DiffusionResult,
  type DiffusionStep,
  type Img2ImgOptions,
  type InpaintOptions,
  type InvertOptions,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionInpaintPipeline,
  StableDiffusionPipeline,
} from './tasks/stable-diffusion/pipelines.ts';
export type { GenerateTextOptions, TextGenerator } from './tasks/text-generation.ts';
export { TextStreamer } from './tasks/text-stream.ts';
export { VaeImageProcessor } from './tasks/vae-image-processor.ts';
export type { DType } from './tensor/dtype.ts';
export { grad } from './tensor/grad.ts';
export { Tensor } from './tensor/tensor.ts';
export { AdamW, type AdamWOptions } from './train/adamw.ts';
export { type Labelled, preprocess } from './train/llava-labels.ts';
export { contrastive_loss, cross_entropy, l2_loss, mse_loss, noise_loss } from './train/loss.ts';
