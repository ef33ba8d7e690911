"""Makes the small ONNX models of the reward tests: python3 make_models.py, beside this file, with onnx and numpy.

Their weights are w[i] = float32(amplitude * sin(0.7 i + phase)), so that a test can compute the same ones and, in double precision, the same answers.
"""
import json
import pathlib
import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
SIZE, PATCH, WIDTH, DIM, VOCAB, TOKENS = 8, 4, 6, 5, 32, 77


def weights(phase, amplitude, *shape):
    i = np.arange(int(np.prod(shape)), dtype=np.float64)
    return (amplitude * np.sin(0.7 * i + phase)).astype(np.float32).reshape(shape)


def save(name, nodes, inputs, outputs, constants):
    graph = helper.make_graph(nodes, name, inputs, outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="turningpoint tests")
    checker.check_model(model)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


# image_embeds = mean over patches of tanh(conv(pixels) + bias) . projection
save("clip_image", [
    node("Conv", ["pixel_values", "patch", "bias"], "patches", kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH]),
    node("Tanh", ["patches"], "hidden"),
    node("ReduceMean", ["hidden"], "pooled", axes=[2, 3], keepdims=0),
    node("MatMul", ["pooled", "projection"], "image_embeds"),
], [value("pixel_values", TensorProto.FLOAT, "batch", 3, SIZE, SIZE)], [value("image_embeds", TensorProto.FLOAT, "batch", DIM)], {
    "patch": weights(0.1, 0.2, WIDTH, 3, PATCH, PATCH), "bias": weights(0.2, 0.3, WIDTH), "projection": weights(0.3, 0.5, WIDTH, DIM)})

# text_embeds = tanh(sum over the attended tokens of embedding[id] * position) . projection
save("clip_text", [
    node("Gather", ["embedding", "input_ids"], "embedded"),
    node("Mul", ["embedded", "position"], "placed"),
    node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT),
    node("Unsqueeze", ["mask", "last"], "column"),
    node("Mul", ["placed", "column"], "attended"),
    node("ReduceSum", ["attended", "tokens"], "summed", keepdims=0),
    node("Tanh", ["summed"], "hidden"),
    node("MatMul", ["hidden", "projection"], "text_embeds"),
], [value("input_ids", TensorProto.INT64, "batch", TOKENS), value("attention_mask", TensorProto.INT64, "batch", TOKENS)],
    [value("text_embeds", TensorProto.FLOAT, "batch", DIM)], {
    "embedding": weights(0.4, 0.4, VOCAB, WIDTH), "position": weights(0.5, 1.0, TOKENS, 1), "projection": weights(0.6, 0.5, WIDTH, DIM),
    "last": np.array([2], np.int64), "tokens": np.array([1], np.int64)})

# score = tanh(embedding . first) . second
save("aesthetic_head", [
    node("MatMul", ["embedding", "first"], "a"), node("Tanh", ["a"], "b"), node("MatMul", ["b", "second"], "score"),
], [value("embedding", TensorProto.FLOAT, "batch", DIM)], [value("score", TensorProto.FLOAT, "batch", 1)],
    {"first": weights(0.7, 0.8, DIM, 4), "second": weights(0.8, 3.0, 4, 1)})

# reward = sum over everything: image and text at once, as BLIP reads them
save("image_reward", [
    node("Cast", ["input_ids"], "ids", to=TensorProto.FLOAT), node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT),
    node("Mul", ["ids", "mask"], "masked"), node("MatMul", ["masked", "positions"], "text"),
    node("ReduceMean", ["pixel_values"], "pooled", axes=[2, 3], keepdims=0), node("MatMul", ["pooled", "colours"], "picture"),
    node("Mul", ["text", "picture"], "reward"),
], [value("pixel_values", TensorProto.FLOAT, "batch", 3, SIZE, SIZE), value("input_ids", TensorProto.INT64, "batch", 35),
    value("attention_mask", TensorProto.INT64, "batch", 35)], [value("reward", TensorProto.FLOAT, "batch", 1)],
    {"positions": weights(0.9, 0.1, 35, 1), "colours": weights(1.0, 1.0, 3, 1)})

# Finds what the image says: the red bytes of its first row, in pieces of six, are left, top, right, bottom, score * 255 and label. What is green belongs to every object.
PIECES = 3
number = {f"n{i}": np.array([i], np.int64) for i in range(7)}
save("detector", [
    node("Slice", ["image", "starts", "ends", "axes"], "row"), node("Mul", ["row", "bytes"], "said"), node("Reshape", ["said", "shape"], "pieces"),
    node("Slice", ["pieces", "n0", "n4", "n1"], "boxes"),
    node("Slice", ["pieces", "n4", "n5", "n1"], "scored"), node("Div", ["scored", "bytes"], "fractions"), node("Reshape", ["fractions", "flat"], "scores"),
    node("Slice", ["pieces", "n5", "n6", "n1"], "labelled"), node("Reshape", ["labelled", "flat"], "flattened"), node("Round", ["flattened"], "rounded"),
    node("Cast", ["rounded"], "labels", to=TensorProto.INT64),
    node("Slice", ["image", "n1", "n2", "n1"], "green"), node("Concat", ["green"] * PIECES, "masks", axis=0),
], [value("image", TensorProto.FLOAT, 1, 3, "height", "width")],
    [value("boxes", TensorProto.FLOAT, PIECES, 4), value("labels", TensorProto.INT64, PIECES), value("scores", TensorProto.FLOAT, PIECES),
     value("masks", TensorProto.FLOAT, PIECES, 1, "height", "width")], {
    "starts": np.array([0, 0, 0], np.int64), "ends": np.array([1, 1, 6 * PIECES], np.int64), "axes": np.array([1, 2, 3], np.int64),
    "shape": np.array([PIECES, 6], np.int64), "flat": np.array([PIECES], np.int64), "bytes": np.array(255, np.float32)} | number)

# A tokenizer built as CLIP's is, of six letters and two words, and one as BERT's is.
letters = "acdgot"
vocab = {l: i for i, l in enumerate(letters)} | {l + "</w>": 6 + i for i, l in enumerate(letters)}
vocab |= {"at</w>": 12, "cat</w>": 13, "do": 14, "dog</w>": 15, "<|startoftext|>": 30, "<|endoftext|>": 31}


def special(number, text):
    return {"id": number, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


(HERE / "clip_tokenizer.json").write_text(json.dumps({
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [special(30, "<|startoftext|>"), special(31, "<|endoftext|>")],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"}, "behavior": "Removed", "invert": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}]},
    "post_processor": {"type": "RobertaProcessing", "sep": ["<|endoftext|>", 31], "cls": ["<|startoftext|>", 30], "trim_offsets": False, "add_prefix_space": False},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "fuse_unk": False,
              "vocab": vocab, "merges": ["a t</w>", "c at</w>", "d o", "do g</w>"]}}, indent=1) + "\n")

(HERE / "bert_tokenizer.json").write_text(json.dumps({
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[CLS]"), special(3, "[SEP]")],
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                       "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                       "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}, "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
              "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "cat": 5, "##s": 6, "dog": 7}}}, indent=1) + "\n")

# What stands beside the tiny networks of the goldens in a pipeline: text encoders of CLIP's and T5's form, and decoders of latents.
# hidden[t] = tanh(embedding[id] * position[t]); pooled = tanh(mean over tokens of hidden) . projection
def encoder(name, tokens, width, vocabulary, phase, pooled=0):
    nodes = [node("Gather", ["embedding", "input_ids"], "embedded"), node("Mul", ["embedded", "position"], "placed"), node("Tanh", ["placed"], "hidden")]
    outputs = [value("hidden", TensorProto.FLOAT, 1, tokens, width)]
    constants = {"embedding": weights(phase, 0.9, vocabulary, width), "position": weights(phase + 0.1, 1.3, tokens, 1)}
    if pooled:
        nodes += [node("ReduceMean", ["hidden"], "mean", axes=[1], keepdims=0), node("MatMul", ["mean", "projection"], "projected"), node("Tanh", ["projected"], "pooled")]
        outputs.append(value("pooled", TensorProto.FLOAT, 1, pooled))
        constants["projection"] = weights(phase + 0.2, 2.0, width, pooled)
    save(name, nodes, [value("input_ids", TensorProto.INT64, 1, tokens)], outputs, constants)


encoder("pipeline_clip_l", 77, 8, 32, 1.1, 8)
encoder("pipeline_clip_g", 77, 12, 32, 1.2, 12)
encoder("pipeline_clip_flux", 77, 8, 32, 1.3, 20)
encoder("pipeline_t5", 6, 24, 12, 1.4)

# image = tanh of two by two pixels for each latent: a transposed convolution
save("pipeline_decoder", [
    node("ConvTranspose", ["latents", "kernel", "bias"], "pixels", kernel_shape=[2, 2], strides=[2, 2]), node("Tanh", ["pixels"], "image"),
], [value("latents", TensorProto.FLOAT, 1, 4, "h", "w")], [value("image", TensorProto.FLOAT, 1, 3, "H", "W")], {
    "kernel": weights(1.5, 0.4, 4, 3, 2, 2), "bias": weights(1.6, 0.2, 3)})

# T5's tokenizer in small: a unigram model, the mark of the end, and what fills up.
(HERE / "t5_tokenizer.json").write_text(json.dumps({
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>")],
    "normalizer": None,
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
    "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                       "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                       "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
    "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True},
    "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": False,
              "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", -9.0], ["\u2581a", -2.0], ["\u2581cat", -3.0], ["\u2581dog", -3.0], ["s", -2.5], ["\u2581", -2.2], ["g", -4.0], ["o", -4.0], ["t", -4.0], ["d", -4.0]]}},
    indent=1) + "\n")
