package dev.turningpoint.weights;

/** How a checkpoint names and cuts its tensors. */
public enum Layout {
    /** HuggingFace diffusers': {@code transformer_blocks.0.attn.to_q.weight}; what the engine computes with. */
    DIFFUSERS,
    /** The authors': {@code joint_blocks.0.x_block.attn.qkv.weight}, {@code double_blocks.0.img_attn.qkv.weight}; what ComfyUI and others load. */
    ORIGINAL
}
