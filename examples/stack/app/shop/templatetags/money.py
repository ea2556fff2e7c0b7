from django import template

register = template.Library()


@register.filter
def cents(amount):
    return f"{amount // 100:,}.{amount % 100:02d}"
