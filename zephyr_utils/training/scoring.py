"""What a model says of rows that it is not training on: log-probabilities of answers, the loss of
whole dialogues.
"""

import torch

from zephyr_utils.chat import encode
from zephyr_utils.objectives import sequence_log_probs, token_weighted_nll


@torch.no_grad()
def answer_log_probs(
    model, tokenizer, conversations: list[list[dict]], batch_size: int = 32
) -> torch.Tensor:
    """log p(last message | the messages before it) of each conversation, summed over the message's
    tokens.

    Args:
        conversations: message lists that end with the assistant's answer.

    Returns:
        Tensor of shape (conversations,), in nats, in the order given.
    """
    # As TRL counts: the prompt ends behind the generation prompt, the answer runs to the template's
    # last newline.
    rows = []
    for messages in conversations:
        prompt = tokenizer.apply_chat_template(
            messages[:-1], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        rows.append((encode(tokenizer, messages)[0], len(prompt)))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    sums = torch.empty(len(rows))
    for start in range(0, len(order), batch_size):
        picked = order[start : start + batch_size]
        width = max(len(rows[i][0]) for i in picked)
        ids = torch.full((len(picked), width), tokenizer.pad_token_id)
        labels = torch.full((len(picked), width), -100)
        for line, i in enumerate(picked):
            tokens, prompt_length = rows[i]
            ids[line, : len(tokens)] = torch.tensor(tokens)
            labels[line, prompt_length : len(tokens)] = torch.tensor(tokens[prompt_length:])
        mask = torch.arange(width) < torch.tensor([[len(rows[i][0])] for i in picked])
        logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits
        sums[picked] = sequence_log_probs(logits.float(), labels.to(model.device)).cpu()
    return sums


@torch.no_grad()
def held_out_loss(model, tokenizer, dialogues: list[dict], batch_size: int = 16) -> float:
    """Token-weighted negative log-likelihood of whole dialogues, in nats a token."""
    model.eval()
    encoded = sorted((encode(tokenizer, row["messages"])[0] for row in dialogues), key=len)
    total, count = 0.0, 0
    for start in range(0, len(encoded), batch_size):
        batch = encoded[start : start + batch_size]
        width = max(map(len, batch))
        ids = torch.tensor(
            [tokens + [tokenizer.pad_token_id] * (width - len(tokens)) for tokens in batch]
        )
        labels = torch.tensor([tokens + [-100] * (width - len(tokens)) for tokens in batch])
        ids, labels = ids.to(model.device), labels.to(model.device)
        # Right padding under a causal mask: no real token sees a pad, so no attention mask is
        # needed.
        nll, tokens = token_weighted_nll(model(input_ids=ids).logits.float(), labels)
        total, count = total + float(nll), count + int(tokens)
    model.train()
    return total / count
