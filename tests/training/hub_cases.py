"""Image backbones of keras_hub in their smallest forms, with random weights: every kind of output there is."""

SIZE = 32
SHAPE = (SIZE, SIZE, 3)
SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8}
# Vision encoders: patch size, hidden size, layers, heads, size within.
ENCODER = {"patch_size": 16, "intermediate_dim": 16, **SMALL}
TEXT = {"vocabulary_size": 20, "embedding_dim": 8, "intermediate_dim": 16, **SMALL}


def families(models):
    """Dictionary of family to a function that builds a backbone of it. `models` is `keras_hub.models`."""
    return {
        "ViT": lambda: models.ViTBackbone(image_shape=SHAPE, patch_size=16, mlp_dim=16, **SMALL),
        "DeiT": lambda: models.DeiTBackbone(image_shape=SHAPE, **ENCODER),
        "DINOv2": lambda: models.DINOV2Backbone(
            image_shape=SHAPE, position_embedding_shape=SHAPE, num_register_tokens=4, **ENCODER
        ),
        "DINOv3": lambda: models.DINOV3Backbone(image_shape=SHAPE, **ENCODER),
        "CLIP": lambda: models.CLIPBackbone(
            models.CLIPVisionEncoder(image_shape=SHAPE, **ENCODER),
            models.CLIPTextEncoder(max_sequence_length=8, **TEXT),
            projection_dim=6,
        ),
        "MetaCLIP 2": lambda: models.MetaCLIP2Backbone(
            models.MetaCLIP2VisionEncoder(image_shape=SHAPE, **ENCODER),
            models.MetaCLIP2TextEncoder(**TEXT),
            projection_dim=6,
        ),
        "SigLIP": lambda: models.SigLIPBackbone(
            models.SigLIPVisionEncoder(image_shape=SHAPE, **ENCODER),
            models.SigLIPTextEncoder(max_sequence_length=8, **TEXT),
        ),
        "Swin": lambda: models.SwinTransformerBackbone(
            image_shape=SHAPE, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4
        ),
        "ViTDet": lambda: models.ViTDetBackbone(
            hidden_size=8,
            num_layers=2,
            intermediate_dim=16,
            num_heads=2,
            global_attention_layer_indices=[1],
            image_shape=SHAPE,
            num_output_channels=6,
        ),
        "MiT": lambda: models.MiTBackbone(
            layerwise_depths=[1, 1],
            num_layers=2,
            layerwise_num_heads=[1, 2],
            layerwise_sr_ratios=[2, 1],
            max_drop_path_rate=0.0,
            layerwise_patch_sizes=[7, 3],
            layerwise_strides=[4, 2],
            image_shape=SHAPE,
            hidden_dims=[8, 16],
        ),
        "ResNet": lambda: models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 8],
            stackwise_num_blocks=[1, 1],
            stackwise_num_strides=[1, 2],
            block_type="basic_block",
            image_shape=SHAPE,
        ),
        "EfficientNet": lambda: models.EfficientNetBackbone(
            stackwise_width_coefficients=[1.0] * 2,
            stackwise_depth_coefficients=[1.0] * 2,
            stackwise_kernel_sizes=[3] * 2,
            stackwise_num_repeats=[1] * 2,
            stackwise_input_filters=[8, 8],
            stackwise_output_filters=[8, 8],
            stackwise_expansion_ratios=[1, 4],
            stackwise_squeeze_and_excite_ratios=[0.25] * 2,
            stackwise_strides=[1, 2],
            stackwise_block_types=["v1"] * 2,
            stackwise_force_input_filters=[0] * 2,
            stackwise_nores_option=[False] * 2,
            input_shape=SHAPE,
        ),
        "DenseNet": lambda: models.DenseNetBackbone(stackwise_num_repeats=[1, 1], growth_rate=4, image_shape=SHAPE),
        "VGG": lambda: models.VGGBackbone(
            stackwise_num_repeats=[1, 1], stackwise_num_filters=[4, 8], image_shape=SHAPE
        ),
        "Xception": lambda: models.XceptionBackbone(
            stackwise_conv_filters=[[4, 8], [8, 12], [12, 12]], stackwise_pooling=[True, True, False], image_shape=SHAPE
        ),
        "CSPNet": lambda: models.CSPNetBackbone(
            stem_filters=4,
            stem_kernel_size=3,
            stem_strides=1,
            stackwise_depth=[1, 2],
            stackwise_strides=[1, 2],
            stackwise_num_filters=[8, 12],
            block_type="dark_block",
            stage_type="csp",
            bottle_ratio=[0.5, 1.0],
            block_ratio=[1.0, 0.5],
            expand_ratio=[2.0, 1.0],
            image_shape=SHAPE,
        ),
        "HGNetV2": lambda: models.HGNetV2Backbone(
            depths=[1, 1],
            embedding_size=8,
            hidden_sizes=[8, 12],
            stem_channels=[3, 4, 8],
            hidden_act="relu",
            use_learnable_affine_block=False,
            stackwise_stage_filters=[(8, 4, 8, 1, 1, 3), (8, 4, 12, 1, 1, 3)],
            apply_downsample=[False, True],
            use_lightweight_conv_block=[False, False],
            image_shape=SHAPE,
        ),
        "MobileNet": lambda: models.MobileNetBackbone(
            stackwise_expansion=[[8], [8]],
            stackwise_num_blocks=[1, 1],
            stackwise_num_filters=[[8], [8]],
            stackwise_kernel_size=[[3], [3]],
            stackwise_num_strides=[[2], [1]],
            stackwise_se_ratio=[[None], [0.25]],
            stackwise_activation=[["relu"], ["hard_swish"]],
            stackwise_padding=[[1], [1]],
            output_num_filters=12,
            depthwise_filters=8,
            depthwise_stride=2,
            depthwise_residual=False,
            last_layer_filter=12,
            squeeze_and_excite=0.5,
            image_shape=SHAPE,
        ),
        "MobileNetV5": lambda: models.MobileNetV5Backbone(
            stackwise_block_types=[["er"]],
            stackwise_num_blocks=[1],
            stackwise_num_filters=[[8]],
            stackwise_strides=[[2]],
            stackwise_act_layers=[["relu"]],
            stackwise_exp_ratios=[[2.0]],
            stackwise_se_ratios=[[0.0]],
            stackwise_dw_kernel_sizes=[[0]],
            stackwise_dw_start_kernel_sizes=[[0]],
            stackwise_dw_end_kernel_sizes=[[0]],
            stackwise_exp_kernel_sizes=[[3]],
            stackwise_pw_kernel_sizes=[[1]],
            stackwise_num_heads=[[0]],
            stackwise_key_dims=[[0]],
            stackwise_value_dims=[[0]],
            stackwise_kv_strides=[[0]],
            stackwise_use_cpe=[[False]],
            use_msfa=False,
            image_shape=SHAPE,
        ),
    }
