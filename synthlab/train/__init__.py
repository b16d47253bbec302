"""From rows to tokens to a LoRA adapter: loss masks, recipe, supervised fine-tuning.

tokenize  Tokenization and loss masks
recipe    Training recipes, sequence packing and collation
sft       Supervised fine-tuning with LoRA
"""
